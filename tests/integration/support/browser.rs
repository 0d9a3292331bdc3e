//! Headless Chromium, driven through the pipe of its DevTools protocol: no driver and no library between.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{expect_that, peers, secs, wait_for};

/// Messages that wait to be read; the browser waits when there are more.
const UNREAD_MAX: usize = 1024;

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// What it told without being asked.
    told: Vec<Value>,
    _dir: TempDir,
}

impl Browser {
    /// Starts one with an empty page of this size. Its time zone is UTC, and it moves nothing.
    pub(crate) fn start(width: u32, height: u32) -> Browser {
        let dir = TempDir::new().expect("a temporary folder");
        let mut command = with_pipes(&peers::chromium(), dir.path());
        let mut child = command.spawn().expect("a shell");
        let to = child.stdin.take().expect("a pipe");
        let out = child.stdout.take().expect("a pipe");
        let (sender, from) = sync_channel(UNREAD_MAX);
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser {
            child,
            to,
            from,
            last_id: 0,
            session: None,
            told: Vec::new(),
            _dir: dir,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let about = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", about);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser.prefer("light");
        browser
    }

    /// Makes the machine one that prefers `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([
            {"name": "prefers-reduced-motion", "value": "reduce"},
            {"name": "prefers-color-scheme", "value": scheme},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Writes what is shown as a PNG file.
    pub(crate) fn picture(&mut self, file: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = shot["data"].as_str().unwrap_or_default();
        let data = BASE64_STANDARD.decode(data).expect("base64");
        std::fs::write(file, data).expect("the folder is there");
    }

    /// Gives the page another size.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Loads a page.
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert_eq!(answer.get("errorText"), None, "{url}");
        self.wait_until("document.readyState === 'complete'");
    }

    /// Sends a command and waits for its result.
    ///
    /// # Panics
    /// When it fails, or the browser is silent for too long.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let text = format!("{request}\0");
        self.to
            .write_all(text.as_bytes())
            .expect("the browser runs");
        loop {
            let message = self.from.recv_timeout(secs(60));
            let message = message.unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] != id {
                self.told.push(message);
                continue;
            }
            assert_eq!(message.get("error"), None, "{method} {parameters}");
            return message["result"].clone();
        }
    }

    /// The value of an expression in the page.
    ///
    /// # Panics
    /// When it throws.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let about = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", about);
        let thrown = answer.get("exceptionDetails");
        assert_eq!(thrown, None, "{expression}");
        answer["result"]["value"].clone()
    }

    /// The text of an element; empty when there is none.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let selector = json!(selector);
        let value = self.eval(&format!(
            "document.querySelector({selector})?.textContent ?? ''"
        ));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements there are.
    pub(crate) fn count(&mut self, selector: &str) -> u64 {
        let selector = json!(selector);
        let value = self.eval(&format!("document.querySelectorAll({selector}).length"));
        value.as_u64().expect("a number")
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_until(&mut self, expression: &str) {
        wait_for(expression, secs(30), || {
            let value = self.eval(expression);
            expect_that(value == true, || {
                format!(
                    "{value}; the page: {}",
                    self.eval("document.body.innerText.slice(0, 1500)")
                )
            })
        });
    }

    /// Presses a key: `Tab`, `Enter`, `Escape`, `ArrowDown`, `/` and the like.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "/" => (191, "/"),
            _ => panic!("no such key here: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let press = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", press);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses Tab until an element has the focus.
    pub(crate) fn tab_to(&mut self, selector: &str) {
        let has_it = format!(
            "document.activeElement?.matches({}) ?? false",
            json!(selector)
        );
        for _ in 0..80 {
            if self.eval(&has_it) == true {
                return;
            }
            self.press("Tab");
        }
        panic!("no way to {selector} by Tab");
    }

    /// Errors of scripts, on the console and of the policy.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        let is_error = |message: &&Value| match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => message["params"]["type"] == "error",
            "Log.entryAdded" => ["error", "warning"]
                .iter()
                .any(|level| message["params"]["entry"]["level"] == *level),
            _ => false,
        };
        self.told
            .iter()
            .filter(is_error)
            .map(ToString::to_string)
            .collect()
    }

    /// What it asked any server for.
    pub(crate) fn requests(&self) -> Vec<String> {
        let is_request = |message: &&Value| message["method"] == "Network.requestWillBeSent";
        let url = |message: &Value| {
            message["params"]["request"]["url"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.told.iter().filter(is_request).map(url).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The protocol goes through descriptors 3 and 4, which a shell makes of the standard ones.
fn with_pipes(chromium: &Path, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>browser.log"#,
            "sh",
        ])
        .arg(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en-GB",
            "--remote-debugging-pipe",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .current_dir(dir)
        .env("HOME", dir)
        .env("TZ", "UTC")
        .env("LD_LIBRARY_PATH", peers::chromium_libraries())
        .env("FONTCONFIG_FILE", fonts(dir))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A description of the fonts that came with it, and of those of this machine.
fn fonts(dir: &Path) -> std::path::PathBuf {
    let file = dir.join("fonts.conf");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<fontconfig>\n<dir>/usr/share/fonts</dir>\n<dir>{}</dir>\n<cachedir>{}</cachedir>\n</fontconfig>\n",
        peers::chromium_fonts().display(),
        dir.join("fonts").display()
    );
    std::fs::write(&file, text).expect("a file in a temporary folder");
    file
}
