//! HTTP beside the main port: health for load balancers, state and events for tools, and a few actions for
//! those who hold the token.
//!
//! It runs on a thread of its own and never touches the loop: it reads pictures that the loop leaves for it
//! and asks for changes through a bounded queue. Whatever a client can make grow has a limit in here, and a
//! client that is slow loses its connection.
//!
//! * [`connection`]: accepting, limits, one connection from its start to its end.
//! * [`reply`]: how answers, errors and health look.
//! * [`room`]: answers that may be large, and how much of them there may be.
//! * [`token`]: who may change things.
//! * [`sentinel`]: the routes of a sentinel; [`acting`] those that change something.
//! * [`view`]: what JSON shows of a picture.
//! * [`events`]: published events as a stream.
//! * [`metrics`]: `/metrics` of both programs.
//! * [`server`]: the routes of a data server.
//! * [`openapi`]: the description of all of it, generated from the handlers.
//! * [`page`]: the page that shows all of it, and the one that shows the description.

pub mod acting;
pub mod connection;
pub mod events;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod reply;
pub mod room;
pub mod sentinel;
pub mod server;
pub mod token;
pub mod view;

use std::pin::Pin;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;

use crate::config::Process;
use crate::net::{ListenOptions, Listeners, Tls, load_http_tls};
use connection::Acceptor;

/// How much nicer than the loop the HTTP thread is, where both want the same processor.
const NICE: i32 = 5;
/// How long requests that are being answered may take to end when the process does.
const LAST_ANSWERS_MAX: Duration = Duration::from_millis(500);

/// What HTTP has to do in the background.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells everything in here that the process ends.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// The sender, which says so with `true`, and who hears it.
    pub fn new() -> (watch::Sender<bool>, Stop) {
        let (sender, receiver) = watch::channel(false);
        (sender, Stop(receiver))
    }

    /// Waits for it. Cancel-safe.
    pub async fn wait(&mut self) {
        // An error: the sender is gone, which says the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// The running HTTP thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Http {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Listens as `process` says and serves `app` until the result is dropped; `stop` is the sender that
    /// `app` and `background` listen to. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// An address cannot be listened on, the certificates cannot be used, or there is no thread to be had.
    pub fn start(
        process: &Process,
        app: Router,
        background: Background,
        stop: watch::Sender<bool>,
    ) -> anyhow::Result<Http> {
        let options = ListenOptions::of_http(process);
        let listeners = Listeners::bind(&options)
            .and_then(|bound| bound.into_std().map_err(|_| unreachable_address(&options)))
            .context("HTTP")?;
        let tls = load_http_tls(process)?;
        let hears_stop = Stop(stop.subscribe());
        let keepalive = process.tcp_keepalive;
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || run(listeners, tls, keepalive, app, background, hears_stop))
            .context("cannot start the HTTP thread")?;
        let scheme = if process.http.tls { "https" } else { "http" };
        tracing::info!("Running {scheme}, port={}.", process.http.port);
        Ok(Http {
            stop,
            thread: Some(thread),
        })
    }
}

fn unreachable_address(options: &ListenOptions) -> crate::net::ListenError {
    crate::net::ListenError::Tcp {
        addr: options.bind.join(" "),
        port: options.port,
        error: std::io::ErrorKind::AddrNotAvailable.into(),
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

fn run(
    listeners: Vec<std::net::TcpListener>,
    tls: Option<Tls>,
    keepalive: Duration,
    app: Router,
    background: Background,
    mut stop: Stop,
) {
    // On Linux this is about the calling thread alone. Refused: then it is not nicer.
    let _ = rustix::process::nice(NICE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("cannot start the HTTP thread: {error}"),
    };
    runtime.block_on(async move {
        let acceptor = Acceptor::new(app, tls, keepalive, stop.clone());
        let background = tokio::spawn(background);
        let mut accepting = Vec::new();
        for listener in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accepting.push(tokio::spawn(acceptor.clone().accept(listener))),
                Err(error) => tracing::error!("cannot accept HTTP connections: {error}"),
            }
        }
        stop.wait().await;
        for task in accepting {
            task.abort();
        }
        let _ = tokio::time::timeout(LAST_ANSWERS_MAX, acceptor.all_ended()).await;
        background.abort();
    });
}
