//! From a configuration to what clients meet: limits, renamed commands, users.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{AclError, Front, FrontSettings, Program};
use crate::config::load::Line;
use crate::config::process::users_twice;
use crate::config::{ConfigErrors, Place, Process, Refusal, lex};

/// So many settings about absent commands are named in the log.
const SHOWN_MAX: usize = 20;

impl<P: Program> Front<P> {
    /// Applies what `process` says about clients. `lines` are the lines that `user` and
    /// `rename-command` came from, to show where a mistake is. Call it before the first client comes
    /// and before `dir` is entered, from which a relative `aclfile` starts.
    ///
    /// # Errors
    /// A command that is renamed does not exist, a user's rules are wrong, or the ACL file cannot be
    /// loaded: all mistakes, in redis-server's words.
    pub fn configure(&mut self, process: &Process, lines: &[Line]) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        self.settings = FrontSettings::from(process);
        self.clients.limits = process.output_limits;
        self.acl.log.entries_max = size(process.acllog_max_len);
        for (from, to) in &process.rename_commands {
            if let Err(error) = self.table.rename(from, to) {
                let place = place_of(lines, &["rename-command", from, to]);
                let hint = "rename-command COMMAND NEW-NAME, of a command that this program has";
                errors.push(place, Refusal::new(error.to_string()), hint);
            }
        }
        let password = process.requirepass.as_deref().map(str::as_bytes);
        self.acl.set_requirepass(password);
        self.acl.set_pubsub_default(process.acl_pubsub_default);
        for user in &process.users {
            self.configure_user(user, lines, &mut errors);
        }
        if let Some(path) = &process.aclfile {
            if !process.users.is_empty() {
                let place = place_of(lines, &["aclfile", &path.display().to_string()]);
                errors.push(place, users_twice(), "");
            }
            let dir = std::path::absolute(&process.dir).unwrap_or_default();
            let path = dir.join(path);
            self.acl.set_file(Some(path.clone()));
            if let Err(error) = self.acl.load_file() {
                let place = Place::new(&Arc::from(path.display().to_string()), 0, "aclfile");
                let reason = format!("Aborting Redis startup because of ACL errors: {error}");
                errors.push(place, Refusal::new(reason), "a file of user lines");
            }
        }
        errors.into_result(())
    }

    /// Says in the log which of its settings are about commands that the program does not have.
    pub fn tell_of_absent_commands(&self, process: &Process) {
        let catalog = self.table.catalog();
        let is_absent = |name: &str| {
            let command = name.split('|').next().unwrap_or_default();
            let id = catalog.find_known(command);
            id.is_some_and(|id| catalog.is_absent(id))
        };
        let text = String::from_utf8_lossy;
        let renamed = process.rename_commands.iter();
        let mut named: BTreeSet<String> = renamed
            .filter(|(from, _)| is_absent(from))
            .map(|(from, _)| format!("rename-command {}", from.to_ascii_lowercase()))
            .collect();
        for user in self.acl.users() {
            let user = user.borrow();
            for selector in user.selectors() {
                let rules = selector.describe_commands(catalog);
                let (name, rules) = (text(user.name()), text(&rules));
                let rules = rules.split(' ').filter(|rule| is_absent(&rule[1..]));
                named.extend(rules.map(|rule| format!("user {name} {rule}")));
            }
        }
        if !named.is_empty() {
            let shown: Vec<&str> = named.iter().map(String::as_str).take(SHOWN_MAX).collect();
            tracing::info!(
                count = named.len(),
                "without effect, since this server does not have these commands: {}",
                shown.join(", ")
            );
        }
    }

    fn configure_user(&mut self, line: &str, lines: &[Line], errors: &mut ConfigErrors) {
        let words = lex::words(line.as_bytes()).ok().flatten();
        let words = words.unwrap_or_default();
        let [_, name, rules @ ..] = words.as_slice() else {
            return;
        };
        let Err(error) = self.acl.define_user(name.as_bytes(), rules) else {
            return;
        };
        let reason = match &error {
            AclError::Rule { rule, error } => {
                let rule = String::from_utf8_lossy(rule);
                format!("Error loading ACL rule '{rule}' for the user named '{name}': {error}")
            }
            AclError::Name
            | AclError::Unmatched(_)
            | AclError::TooManyUsers
            | AclError::NotText(_)
            | AclError::NoFile
            | AclError::File(_) => format!("Error in user declaration '{name}': {error}"),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let hint = "user NAME RULE…, such as alice on >secret ~* &* +@all";
        errors.push(place_of(lines, &words), Refusal::new(reason), hint);
    }
}

impl From<&Process> for FrontSettings {
    fn from(process: &Process) -> FrontSettings {
        FrontSettings {
            maxclients: size(process.maxclients.into()),
            idle_timeout: process.timeout,
            protected_mode: process.protected_mode,
            query_bytes_max: size(process.query_buffer_limit),
            bulk_bytes_max: size(process.proto_max_bulk_len),
        }
    }
}

/// Where the line with these words stands; users may also come from a state file.
fn place_of(lines: &[Line], words: &[&str]) -> Place {
    let same = |line: &&Line| {
        line.words.len() == words.len()
            && line.words[0].eq_ignore_ascii_case(words[0])
            && line.words[1..] == words[1..]
    };
    match lines.iter().find(same) {
        Some(line) => line.place.clone(),
        None => Place::new(
            &Arc::from("the state file"),
            0,
            &lex::join(words.iter().copied()),
        ),
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::config::{Source, load_sentinel};
    use crate::front::{connection_commands, subscription_commands};

    struct Toy {
        front: Front<Toy>,
    }

    impl Program for Toy {
        type Session = ();
        const MODE: &'static str = "toy";
        fn front(&mut self) -> &mut Front<Toy> {
            &mut self.front
        }
        fn now(&self) -> Now {
            Now::default()
        }
    }

    fn configured(text: &str) -> (Toy, Result<(), ConfigErrors>) {
        let commands = connection_commands().into_iter();
        let mut toy = Toy {
            front: Front::new(commands.chain(subscription_commands())),
        };
        let source = Source::Stdin(text.as_bytes().to_vec());
        let config = load_sentinel(&source, &[]).unwrap();
        let done = toy.front.configure(&config.process, &config.access_lines);
        (toy, done)
    }

    #[test]
    fn mistakes_have_redis_reasons_and_their_lines() {
        let (_, done) = configured(
            "rename-command nosuch x\nRename-command ping subscribe\nuser bob +nosuch\n\
             user eve &* &a\nrename-command hello hi\n",
        );
        let errors = done.unwrap_err();
        let found: Vec<(usize, &str)> = errors
            .mistakes()
            .iter()
            .map(|mistake| (mistake.place.line, mistake.reason.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (1, "No such command in rename-command"),
                (2, "Target command name already exists"),
                (
                    3,
                    "Error loading ACL rule '+nosuch' for the user named 'bob': Unknown command or \
                     category name in ACL"
                ),
                (
                    4,
                    "Error loading ACL rule '&a' for the user named 'eve': Adding a pattern after the \
                     * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
                     Try 'resetchannels' to start with an empty list of channels"
                ),
            ]
        );
    }

    #[test]
    fn users_stand_in_lines_or_in_a_file() {
        let source = Source::Stdin(b"user bob on nopass\n".to_vec());
        let mut config = load_sentinel(&source, &[]).unwrap();
        config.process.aclfile = Some("/nowhere/users.acl".into());
        let mut front = Front::<Toy>::new(connection_commands());
        let done = front.configure(&config.process, &config.access_lines);
        let errors = done.unwrap_err();
        let mut reasons = errors.mistakes().iter().map(|mistake| &mistake.reason);
        assert!(reasons.any(|reason| reason.starts_with("Users are declared in lines and")));
    }

    #[test]
    fn clients_meet_what_was_configured() {
        let (toy, done) = configured(
            "maxclients 7\ntimeout 3\nclient-output-buffer-limit normal 1 2 3\nacllog-max-len 5\n\
             requirepass secret\nuser bob on >x +ping\nacl-pubsub-default allchannels\n",
        );
        done.unwrap();
        assert_eq!(toy.front.settings.maxclients, 7);
        assert_eq!(toy.front.settings.idle_timeout.as_secs(), 3);
        assert_eq!(toy.front.clients.limits.normal.soft_for.as_secs(), 3);
        assert_eq!(toy.front.acl.log.entries_max, 5);
        assert!(!toy.front.acl.default_is_open());
        assert!(toy.front.acl.authenticate(b"default", b"secret").is_some());
        let bob = toy.front.acl.authenticate(b"bob", b"x").unwrap();
        assert!(
            bob.borrow()
                .describe(toy.front.table.catalog())
                .windows(2)
                .any(|part| part == b"&*")
        );
    }
}
