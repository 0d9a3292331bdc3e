//! Users as configurations, files and random rules make them, at redis-server 7.0 and at ours.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::seq::IndexedRandom;
use sentinel::resp::Value;
use tempfile::TempDir;

use crate::both::start_both;
use crate::data::{Dice, seeds};
use crate::support::{Client, Kind, fields, start_server, text, texts};

/// A command of a later version, which redis-server 7.0 does not know.
const ONLY_OURS: &str = "client|setinfo";

/// The users as `ACL LIST` has them. Single commands come in no order there, so that they are sorted here.
fn users(list: &Value) -> Vec<String> {
    texts(list).iter().map(|line| ordered(line)).collect()
}

/// Rules with the single commands of each selector behind the rest, in alphabetical order.
fn ordered(rules: &str) -> String {
    let of_selector = |rules: &str| {
        let is_single = |word: &&str| word.starts_with(['+', '-']) && !word[1..].starts_with('@');
        let (mut single, mut words): (Vec<&str>, Vec<&str>) = rules.split(' ').partition(is_single);
        single.sort_unstable();
        words.extend(single);
        words.join(" ")
    };
    let selectors: Vec<String> = rules
        .trim_end_matches(')')
        .split(['(', ')'])
        .map(of_selector)
        .collect();
    selectors.join("(")
}

#[test]
fn users_of_a_configuration() {
    for lines in [
        "user a on\nuser b on ~* (+get ~a) (resetchannels &x +set ~b)\nuser c reset\n",
        "acl-pubsub-default allchannels\nuser a on\nuser b on (+get ~a) (resetchannels &x +set ~b)\n\
         user c reset\nuser d on resetchannels &x\nuser e allchannels +@read\n",
        "user a on\nacl-pubsub-default allchannels\nuser default on nopass +@all\n",
        "user default on nopass ~* +@all -debug\n",
    ] {
        let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
            let server = start_server(kind, lines);
            users(&server.client().call(&["ACL", "LIST"]))
        });
        assert_eq!(real, ours, "{lines}");
    }
}

#[test]
fn a_zero_byte_ends_most_rules() {
    const RULES: &[&str] = &[
        "on\0x",
        "nopass\0",
        "\0x",
        "",
        "+get\0x",
        "-get\0|",
        "+@string\0x",
        "+nosuch\0",
        "~*\0x",
        "&*\0",
        "~a\0",
        "allkeys\0x",
        "reset\0",
        "+config|get\0x",
        "-config|set\0",
        "+get|a\0b",
        "+get|\0b",
        "(+get\0x ~a)",
        ">a\0b",
        "<a\0",
        "clearselectors\0",
        "%R~*\0",
        "foo\0bar",
    ];
    let mut clients = start_both("").map(|server| (server.client(), server));
    for rule in RULES {
        let [real, ours] = clients.each_mut().map(|(client, _)| {
            client.call(&["ACL", "SETUSER", "a", "reset", "+set", ">a", "(+get)"]);
            let reply = client.call(&["ACL", "SETUSER", "a", rule]);
            (reply, users(&client.call(&["ACL", "LIST"])))
        });
        assert_eq!(real, ours, "{rule:?}");
    }
}

#[test]
fn users_of_a_file() {
    const FILES: &[&str] = &[
        "user a on >p\nuser b ~x (+get)\nuser c resetchannels &x\n",
        "\n  user a on  nopass\t\r\n\nuser default on nopass +@all\n",
        "user q\" on\nuser  \n",
        "user  on\n",
        "user  b on\n",
        "# a comment\n",
        "user\nusers a\nUSER a\nother\n",
        "user a\ton\n",
        "user a on\nuser b\nuser a off\nuser b\n",
        "user default on nopass\nuser default off\n",
        "user a +nosuch ~* ~a &* &a +nosuch2 ~b foo\nuser b -nosuch|x +client|nosuch <p #z +@nosuch\n",
        "user a (+get)(+set) on\nuser b (+get ~a)x on\nuser c (+nosuch) (~* ~a) (on)\n",
        "user a (+get ~a\nuser a on\nuser b (foo) (bar)\n",
        "user a +client|list|x +config| +get|\n",
    ];
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("users.acl");
    std::fs::write(&path, "").expect("a file can be written");
    let lines = format!("aclfile {}\n", path.display());
    let servers = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, &lines));
    let mut clients = servers.each_ref().map(|server| server.client());
    for channels in ["resetchannels", "allchannels"] {
        for client in &mut clients {
            client.call(&["CONFIG", "SET", "acl-pubsub-default", channels]);
        }
        for file in FILES {
            std::fs::write(&path, file).expect("a file can be written");
            let [real, ours] = clients.each_mut().map(|client| {
                let loaded = text(&client.call(&["ACL", "LOAD"]));
                (loaded, users(&client.call(&["ACL", "LIST"])))
            });
            assert_eq!(real, ours, "{file:?}");
        }
    }
}

#[test]
fn selectors_are_split_as_a_line_and_written_so_that_they_stay() {
    const RULES: &[&[&str]] = &[
        &["(~\"x\" +get)"],
        &["(\"~x\" \"+get\")"],
        &[r#"("~\x41")"#],
        &["(\t+get\t~a\n)"],
        &["(~\"x +get)"],
        &["(~x\"y\"z +get)"],
        &["(~a\"", "\"b)"],
        &["(+get ~a\x0bx)"],
        &["(\x0b+get\x0c)"],
        &["(\"\" +get)"],
        &[r#"("~a\nb")"#],
        &[r#"("~\"x\"" '&y"' "%R~a\\'b" ~c\d)"#],
        &["(~a) +get)", "+get"],
        &["(+get", "\"~a)\"", "~b)"],
        &["(+get ~a\0x)"],
        &["(+get", "~a\0x)"],
        &["(+get", "", ")"],
        &["()", "", "(  )"],
        &["(+get ~a) "],
        &["(+get ~a)x"],
        &["on", "(~a", "+get"],
        &["~a\x0bx"],
        &["&a\x0b"],
        &["+select|a\x0bx"],
    ];
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("users.acl");
    let line = format!("aclfile {}\n", file.display());
    std::fs::write(&file, "").expect("a file can be written");
    let servers = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, &line));
    let [mut real, mut ours] = servers.each_ref().map(|server| server.client());
    let configured = start_server(Kind::Ours, "");
    for (at, rules) in RULES.iter().enumerate() {
        let name = format!("u{at:02}");
        let words = [&["ACL", "SETUSER", &name], *rules].concat();
        let [theirs, mine] = [&mut real, &mut ours].map(|client| client.call(&words));
        assert_eq!(theirs, mine, "{rules:?}");
        configured.client().call(&words);
    }
    let shown = users(&real.call(&["ACL", "LIST"]));
    assert_eq!(users(&ours.call(&["ACL", "LIST"])), shown);
    assert_eq!(text(&ours.call(&["ACL", "SAVE"])), "OK");
    assert_eq!(
        text(&configured.client().call(&["CONFIG", "REWRITE"])),
        "OK"
    );
    let config = std::fs::read_to_string(configured.dir().join("server.conf")).expect("is there");
    let lines: String = (config.lines().filter(|line| line.starts_with("user ")))
        .map(|line| format!("{line}\n"))
        .collect();
    for (kind, client) in [(Kind::Real, &mut real), (Kind::Ours, &mut ours)] {
        assert_eq!(text(&client.call(&["ACL", "LOAD"])), "OK");
        assert_eq!(users(&client.call(&["ACL", "LIST"])), shown, "{kind:?}");
        let server = start_server(kind, &lines);
        let read = users(&server.client().call(&["ACL", "LIST"]));
        assert_eq!(read, shown, "{kind:?}: {lines}");
    }
}

/// The commands of a category.
fn members(client: &mut Client, category: &str) -> BTreeSet<String> {
    texts(&client.call(&["ACL", "CAT", category]))
        .into_iter()
        .filter(|name| name != ONLY_OURS)
        .collect()
}

/// The rules of a user about commands.
fn command_rules(client: &mut Client, user: &str) -> String {
    let shown = fields(&client.call(&["ACL", "GETUSER", user]));
    let rules = shown["commands"].split(' ');
    // Its rights are its own: where all its neighbours are named one by one, it is as well.
    let rules: Vec<&str> = rules.filter(|rule| &rule[1..] != ONLY_OURS).collect();
    rules.join(" ")
}

#[test]
fn categories_and_random_rules() {
    const LISTS: usize = 600;
    let servers = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, ""));
    let [mut real, mut ours] = servers.each_ref().map(|server| server.client());
    let categories = texts(&real.call(&["ACL", "CAT"]));
    assert_eq!(texts(&ours.call(&["ACL", "CAT"])), categories);
    let mut commands = BTreeSet::new();
    for category in &categories {
        let theirs = members(&mut real, category);
        assert_eq!(theirs, members(&mut ours, category), "{category}");
        commands.extend(theirs);
    }
    let commands: Vec<String> = commands.into_iter().collect();
    let mut dice = Dice::of(seeds([])[0]);
    for _ in 0..LISTS {
        let count = *[1, 2, 3, 5, 8, 20, 60].choose(&mut *dice).expect("some");
        let rules: Vec<String> = (0..count)
            .map(|_| {
                let sign = if dice.random() { '+' } else { '-' };
                let category = categories.choose(&mut *dice).expect("some");
                let command = commands.choose(&mut *dice).expect("some");
                match dice.random_range(0..100) {
                    0..10 => format!("{sign}@all"),
                    10..45 => format!("{sign}@{category}"),
                    45..55 => format!("+{command}|{}", ["a", "B", "help"][dice.random_range(0..3)]),
                    _ => format!("{sign}{command}"),
                }
            })
            .collect();
        let mut words = vec!["ACL", "SETUSER", "u", "reset"];
        words.extend(rules.iter().map(String::as_str));
        let replies = [&mut real, &mut ours].map(|client| text(&client.call(&words)));
        assert_eq!(replies[0], replies[1], "{rules:?}");
        if replies[0] != "OK" {
            continue;
        }
        let [theirs, mine] = [&mut real, &mut ours].map(|client| command_rules(client, "u"));
        let theirs = ordered(&theirs);
        assert_eq!(theirs, ordered(&mine), "{rules:?}");
        // What ours says means the same there.
        let mut words = vec!["ACL", "SETUSER", "v", "reset"];
        words.extend(mine.split(' '));
        assert_eq!(text(&real.call(&words)), "OK", "{mine}");
        assert_eq!(ordered(&command_rules(&mut real, "v")), theirs, "{mine}");
    }
}
