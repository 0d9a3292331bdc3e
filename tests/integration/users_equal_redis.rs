//! Users as configurations and files make them, at redis-server 7.0 and at ours.

use sentinel::resp::Value;
use tempfile::TempDir;

use crate::support::{Kind, start_server, text, texts};

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
