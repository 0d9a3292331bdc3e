//! What `COMMAND DOCS` tells about a command beyond its one line: its arguments, its history, what has taken its
//! place.
//!
//! It is data, kept in `command_docs.txt` for every command of 7.0: the name of the command on a line of its
//! own, then one fact a line, indented by one blank and separated by tabs; the parts of an argument are
//! indented by one blank more than the argument. A test compares it with a real server.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::reply::Reply;

static DOCS: LazyLock<HashMap<&'static str, CommandDocs>> =
    LazyLock::new(|| parse(include_str!("command_docs.txt")));

/// The facts about one command.
#[derive(Clone, Debug, Default)]
pub(super) struct CommandDocs {
    /// Remarks on its key specifications, by their place.
    notes: Vec<(usize, &'static str)>,
    flags: Vec<&'static str>,
    deprecated_since: Option<&'static str>,
    replaced_by: Option<&'static str>,
    history: Vec<(&'static str, &'static str)>,
    arguments: Vec<Argument>,
}

/// One argument, or a group of them.
#[derive(Clone, Debug, Default)]
struct Argument {
    name: &'static str,
    kind: &'static str,
    key_spec: Option<i64>,
    /// `token`, `since`, `deprecated_since`.
    texts: Vec<(&'static str, &'static str)>,
    flags: Vec<&'static str>,
    parts: Vec<Argument>,
}

/// What is known about a command, by its full name.
pub(super) fn docs_of(full_name: &str) -> Option<&'static CommandDocs> {
    DOCS.get(full_name)
}

fn parse(text: &'static str) -> HashMap<&'static str, CommandDocs> {
    let mut all = HashMap::new();
    let mut command = None;
    for line in text.lines() {
        let fact = line.trim_start_matches(' ');
        let depth = line.len() - fact.len();
        if depth == 0 {
            command = Some(all.entry(line).or_insert_with(CommandDocs::default));
        } else if let Some(docs) = command.as_deref_mut() {
            docs.add(depth, fact);
        }
    }
    all
}

impl CommandDocs {
    fn add(&mut self, depth: usize, fact: &'static str) {
        let fields: Vec<&'static str> = fact.split('\t').collect();
        match fields.as_slice() {
            ["note", at, text] => self.notes.push((at.parse().unwrap_or_default(), text)),
            ["doc_flags", flags @ ..] => self.flags.extend(flags),
            ["deprecated_since", since] => self.deprecated_since = Some(since),
            ["replaced_by", text] => self.replaced_by = Some(text),
            ["history", since, text] => self.history.push((since, text)),
            ["arg", name, kind, more @ ..] => {
                let mut group = &mut self.arguments;
                for _ in 1..depth {
                    group = match group.last_mut() {
                        Some(outer) => &mut outer.parts,
                        None => return,
                    };
                }
                group.push(Argument::new(name, kind, more));
            }
            _ => {}
        }
    }

    /// The remark on a key specification.
    pub(super) fn note(&self, key_spec: usize) -> Option<&'static str> {
        let found = self.notes.iter().find(|(at, _)| *at == key_spec);
        found.map(|(_, text)| *text)
    }

    /// How many fields [`CommandDocs::write`] writes.
    pub(super) fn field_count(&self) -> usize {
        usize::from(!self.flags.is_empty())
            + usize::from(self.deprecated_since.is_some())
            + usize::from(self.replaced_by.is_some())
            + usize::from(!self.history.is_empty())
            + usize::from(!self.arguments.is_empty())
    }

    /// Writes the fields that there are into a map that is open.
    pub(super) fn write(&self, reply: &mut Reply) {
        if !self.flags.is_empty() {
            reply.bulk("doc_flags");
            write_flags(&self.flags, reply);
        }
        let texts = [
            ("deprecated_since", self.deprecated_since),
            ("replaced_by", self.replaced_by),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                reply.bulk(name);
                reply.bulk(text);
            }
        }
        if !self.history.is_empty() {
            reply.bulk("history");
            reply.set(self.history.len());
            for (since, text) in &self.history {
                reply.array(2);
                reply.bulk(since);
                reply.bulk(text);
            }
        }
        if !self.arguments.is_empty() {
            reply.bulk("arguments");
            write_arguments(&self.arguments, reply);
        }
    }
}

impl Argument {
    fn new(name: &'static str, kind: &'static str, more: &[&'static str]) -> Argument {
        let mut argument = Argument {
            name,
            kind,
            ..Argument::default()
        };
        for (field, value) in more.iter().filter_map(|field| field.split_once('=')) {
            match field {
                "key" => argument.key_spec = value.parse().ok(),
                "flags" => argument.flags = value.split(',').collect(),
                _ => argument.texts.push((field, value)),
            }
        }
        argument
    }
}

fn write_flags(flags: &[&str], reply: &mut Reply) {
    reply.set(flags.len());
    for flag in flags {
        reply.simple(flag);
    }
}

fn write_arguments(arguments: &[Argument], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        let fields = 2
            + usize::from(argument.key_spec.is_some())
            + argument.texts.len()
            + usize::from(!argument.flags.is_empty())
            + usize::from(!argument.parts.is_empty());
        reply.map(fields);
        reply.bulk("name");
        reply.bulk(argument.name);
        reply.bulk("type");
        reply.bulk(argument.kind);
        if let Some(at) = argument.key_spec {
            reply.bulk("key_spec_index");
            reply.integer(at);
        }
        for (name, text) in &argument.texts {
            reply.bulk(name);
            reply.bulk(text);
        }
        if !argument.flags.is_empty() {
            reply.bulk("flags");
            write_flags(&argument.flags, reply);
        }
        if !argument.parts.is_empty() {
            reply.bulk("arguments");
            write_arguments(&argument.parts, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Protocol;

    #[test]
    fn facts_and_nested_arguments_are_read() {
        let docs = docs_of("set").expect("SET is documented");
        assert_eq!(docs.history.len(), 4);
        assert_eq!(
            docs.note(0),
            Some("RW and ACCESS due to the optional `GET` argument")
        );
        let condition = &docs.arguments[2];
        assert_eq!((condition.name, condition.kind), ("condition", "oneof"));
        assert_eq!(condition.parts[1].texts, [("token", "XX")]);
        let mut reply = Reply::new(Protocol::Resp2);
        docs.write(&mut reply);
        let written = String::from_utf8_lossy(reply.as_bytes());
        assert_eq!(written.matches("$4\r\nname\r\n").count(), 12);
        assert!(docs_of("nosuch").is_none());
    }
}
