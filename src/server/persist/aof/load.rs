//! Loading the append-only file at the start: read on another thread, executed here in slices, so that clients
//! hear `LOADING` meanwhile.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;

use super::folder::Folder;
use super::manifest::Manifest;
use super::read::{AofError, Cut, Piece, read_all};
use super::{State, settle};
use crate::front::{ClientAddr, ClientId, ClientKind, Peer};
use crate::resp::Word;
use crate::server::Server;
use crate::server::keyspace::{Keyspace, WARM_MAX};
use crate::server::lazy_free::drop_elsewhere;
use crate::server::persist::disk::sync_all;
use crate::server::persist::rdb_decode::{LoadOptions, printable};
use crate::server::persist::refused::{Refused, is_restore};

/// Pieces that wait to be executed.
const PIECES_QUEUED: usize = 8;
/// Commands that fail when they are repeated are logged, but no more than this many of them.
const FAILURES_LOGGED_MAX: u64 = 20;

/// Loads the append-only file and opens it for what comes. False when it is off; the manifest is read all the same,
/// because its numbers go on when it is switched on.
pub(crate) async fn load(server: &Rc<RefCell<Server>>) -> anyhow::Result<bool> {
    let is_enabled = server.borrow().config.aof.enabled;
    load_if(server, is_enabled).await
}

async fn load_if(server: &Rc<RefCell<Server>>, is_wanted: bool) -> anyhow::Result<bool> {
    let config = server.borrow().config.aof.clone();
    let folder = Folder::new(&config).context("the working directory")?;
    // Here and not on another thread: where there is nothing to load, no client is to hear that something is loaded.
    let read = folder.read_manifest().and_then(|manifest| {
        if config.enabled {
            folder.upgrade(manifest)
        } else {
            Ok(manifest)
        }
    });
    let manifest = read.context("FATAL AOF MANIFEST FILE ERROR")?;
    {
        let aof = &mut server.borrow_mut().aof;
        aof.folder = folder.clone();
        aof.manifest = manifest.clone();
    }
    if !is_wanted {
        return Ok(false);
    }
    if manifest.is_empty() {
        if config.enabled {
            warn_of_other_data(&server.borrow());
        }
    } else {
        replay(server, &folder, &manifest, config.load_truncated).await?;
    }
    if !config.enabled {
        return Ok(true);
    }
    let server = &mut *server.borrow_mut();
    server.open_aof().with_context(|| {
        format!(
            "cannot open the append-only file in {}",
            folder.file("").display()
        )
    })?;
    Ok(true)
}

/// `DEBUG LOADAOF`: replaces all data by what the append-only file holds, or held when it was last rewritten.
pub(crate) async fn reload(server: &Rc<RefCell<Server>>) -> anyhow::Result<()> {
    server.borrow_mut().cancel_rewrite();
    loop {
        settle(server).await;
        tokio::task::yield_now().await;
        let server = &mut *server.borrow_mut();
        if let Some(error) = server.aof_error() {
            anyhow::bail!("{error}");
        }
        if server.aof.writer.is_settled() && !server.aof.rewriting.is_running() {
            server.aof.writer.switch(None);
            server.aof.state = State::Off;
            server.begin_loading(false);
            server.cancel_save();
            server.disconnect_replicas();
            let empty = Keyspace::new(server.keyspace.databases());
            server.touch_all_for(&empty);
            drop_elsewhere(server.keyspace.replace_with(empty));
            break;
        }
    }
    let loaded = load_if(server, true).await;
    // At a start what the file has changed since its base counts for the save points; here it did so before.
    server.borrow_mut().saver.dirty = 0;
    server.borrow_mut().end_loading();
    loaded.map(drop)
}

/// As in redis-server, the RDB file counts for nothing when the append-only file is on; that surprises many.
fn warn_of_other_data(server: &Server) {
    let rdb = Path::new(&server.config.dbfilename);
    if rdb.exists() {
        tracing::warn!(
            "{} is not loaded, because appendonly is yes and there is no append-only file: starting without data. \
             To keep its data, start with 'appendonly no' and use CONFIG SET appendonly yes.",
            rdb.display()
        );
    }
}

async fn replay(
    server: &Rc<RefCell<Server>>,
    folder: &Folder,
    manifest: &Manifest,
    may_cut: bool,
) -> Result<(), anyhow::Error> {
    let progress = server.borrow_mut().begin_loading(false);
    let options = LoadOptions {
        progress: Some(Arc::clone(&progress)),
        ..server.borrow().load_options(true)
    };
    progress.set_total(folder.size(manifest));
    let started = server.borrow().clock.mono();
    let (out, mut pieces) = mpsc::channel(PIECES_QUEUED);
    let reader = {
        let (folder, manifest) = (folder.clone(), manifest.clone());
        tokio::task::spawn_blocking(move || read_all(&folder, &manifest, options, &progress, &out))
    };
    let mut replay = Replay {
        client: server.borrow_mut().begin_replay(),
        failures: 0,
    };
    while let Some(piece) = pieces.recv().await {
        replay.run(&mut server.borrow_mut(), piece)?;
        tokio::task::yield_now().await;
    }
    if let Some(cut) = reader.await?? {
        if !may_cut {
            let Cut { path: file, at } = cut;
            return Err(AofError::Truncated { file, at }.into());
        }
        cut_off(&cut).with_context(|| format!("cannot truncate {}", cut.path.display()))?;
    }
    let server = &mut *server.borrow_mut();
    server.front.clients.remove(replay.client);
    let took = server.clock.mono().since(started);
    tracing::info!(
        keys = server.keyspace.len(),
        "DB loaded from append only file: {:.3} seconds",
        took.as_secs_f64()
    );
    Ok(())
}

/// Removes the unit that is not complete from the end of the last file.
fn cut_off(cut: &Cut) -> io::Result<()> {
    let name = cut.path.file_name().unwrap_or_default().to_string_lossy();
    tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
    tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
    tracing::warn!("Truncating the AOF {name} at offset {}", cut.at);
    let file = OpenOptions::new().write(true).open(&cut.path)?;
    file.set_len(cut.at)?;
    sync_all(&file)
}

/// The client in whose name commands are repeated.
struct Replay {
    client: ClientId,
    failures: u64,
}

impl Replay {
    fn run(&mut self, server: &mut Server, piece: Piece) -> Result<(), AofError> {
        match piece {
            Piece::Data(loaded) => {
                server.saver.last_load = (loaded.keys_expired, loaded.keys_loaded);
                drop(server.keyspace.replace_with(loaded.keyspace));
                server.rdb_is_in_keyspace();
            }
            Piece::Commands(path, commands) => {
                let now = server.clock.now();
                for (number, command) in commands.iter_from(0).enumerate() {
                    if number.is_multiple_of(WARM_MAX) {
                        let db = server.front.clients.current(self.client).db;
                        let next = commands.iter_from(number).take(WARM_MAX);
                        server.keyspace.warm(db, next.map(|(words, _)| words));
                    }
                    self.run_one(server, &path, command, now)?;
                }
                server.current = crate::server::Current::default();
            }
        }
        Ok(())
    }

    fn run_one(
        &mut self,
        server: &mut Server,
        path: &Path,
        (words, at): (&[Word<'_>], u64),
        now: crate::clock::Now,
    ) -> Result<(), AofError> {
        let word = |number: usize| {
            words
                .get(number)
                .map_or_else(String::new, |word| printable(word))
        };
        let db = server.front.clients.current(self.client).db;
        let unsupported = |refused| {
            let file = PathBuf::from(path);
            Err(AofError::Unsupported { file, at, refused })
        };
        let found = server.find_for_stream(words);
        let payload = found.and_then(|(_, info)| Refused::of_payload(info.name, words, db));
        if let Some(refused) = payload {
            return unsupported(refused);
        }
        let reply = found.map(|(id, info)| {
            let reply = server.replay(self.client, words, (id, info), now);
            (info, reply)
        });
        let error = match &reply {
            Some((_, reply)) => reply.as_bytes().strip_prefix(b"-"),
            None => None,
        };
        match (&reply, error) {
            (Some(_), None) => Ok(()),
            // Whatever follows would go to another database, or a value would be missing.
            (Some((info, _)), Some(text)) if info.name != "select" && !is_lost(info.name, text) => {
                self.failures += 1;
                if self.failures <= FAILURES_LOGGED_MAX {
                    tracing::warn!(
                        file = %path.display(), at,
                        "{} for key {:?} failed when it was repeated: {}",
                        word(0), word(1), String::from_utf8_lossy(text).trim_end()
                    );
                }
                Ok(())
            }
            (Some(_) | None, _) => unsupported(Refused::new(words, db)),
        }
    }
}

/// Whether an error means that a value which only this command has is not there now.
fn is_lost(name: &str, error: &[u8]) -> bool {
    is_restore(name) && !error.starts_with(b"BUSYKEY")
}

impl Server {
    fn begin_replay(&mut self) -> ClientId {
        let addr = ClientAddr::Unix(Rc::from(""));
        let peer = Peer {
            addr: addr.clone(),
            laddr: addr,
            fd: -1,
        };
        let (user, now) = (self.front.acl.default_user(), self.clock.mono());
        let id = self.front.clients.add(peer, user, now);
        let client = self.front.clients.current(id);
        client.kind = ClientKind::Master;
        client.authenticated = true;
        id
    }

    /// Opens the last file for what comes, and makes what is missing: a base of no data, an increment.
    fn open_aof(&mut self) -> io::Result<()> {
        let folder = self.aof.folder.clone();
        let mut manifest = self.aof.manifest.clone();
        folder.create()?;
        if manifest.is_empty() {
            let name = manifest.add_base(folder.file_name(), self.config.aof.use_rdb_preamble);
            tracing::info!("Creating AOF base file {name} on server start");
            self.write_aof_base(&folder.file(&name))?;
        }
        let is_new = manifest.incrs.is_empty();
        if is_new {
            let name = manifest.add_incr(folder.file_name());
            tracing::info!("Creating AOF incr file {name} on server start");
        }
        let last = manifest.incrs.last().map(|file| folder.file(&file.name));
        let file = Folder::open(&last.unwrap_or_default(), is_new)?;
        if manifest != self.aof.manifest {
            folder.write_manifest(&manifest)?;
        }
        folder.remove_history(&mut manifest)?;
        let aof = &mut self.aof;
        aof.current_size = folder.size(&manifest);
        aof.base_size = manifest
            .base
            .as_ref()
            .map_or(0, |base| folder.size_of(base));
        aof.manifest = manifest;
        aof.db = None;
        aof.writer.switch(Some(file));
        aof.state = State::On;
        Ok(())
    }
}
