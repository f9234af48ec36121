//! MapKeeperActor: reads keyword maps again when somebody asks for it or a file changes, and hands new ones to the mapper.
//!
//! Each map for itself: one that can not be used is told with its line, and the one before goes on.

use crate::messages::{ReloadMaps, ReplaceMap};
use actix::prelude::*;
use hearthgate_domain::mapping::MessageCodec;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

/// Editors write a file in several steps; it is read when nothing has happened for so long, …
const QUIET: Duration = Duration::from_millis(200);
/// … or, in a folder that never rests, after this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What reading a map again has brought.
#[derive(Debug)]
pub enum MapReload {
    /// It is as it was.
    Same,
    /// Another one, usable.
    New(Arc<MessageCodec>),
    /// It can not be used; in words that name the file and the line.
    Refused(String),
}

/// Where an interface's map comes from.
pub trait MapSource: Send {
    /// The interface, for logs.
    fn interface(&self) -> &str;

    /// The file, if it is one.
    fn file(&self) -> Option<&Path>;

    /// Reads it again. A text that was read before, good or bad, is [`MapReload::Same`].
    fn read(&mut self) -> MapReload;

    /// Forgets a text that was refused, so that it is refused once more.
    fn forget(&mut self);
}

/// What the actor works with.
pub struct MapKeeperDeps {
    /// The maps, each in its interface's place.
    pub maps: Vec<Box<dyn MapSource>>,
    /// Whether files are watched.
    pub watch: bool,
    /// Who maps by them.
    pub mapper: Recipient<ReplaceMap>,
}

/// See the module.
pub struct MapKeeperActor {
    deps: MapKeeperDeps,
    changed: Arc<Notify>,
    /// Watches as long as it lives.
    watcher: Option<RecommendedWatcher>,
}

impl MapKeeperActor {
    /// An actor that watches as soon as it is started.
    #[must_use]
    pub fn new(deps: MapKeeperDeps) -> Self {
        MapKeeperActor { deps, changed: Arc::default(), watcher: None }
    }

    fn read_all(&mut self, ctx: &mut Context<Self>) {
        let readings: Vec<_> = self.deps.maps.iter_mut().map(|map| (map.interface().to_owned(), map.read())).collect();
        for (place, (interface, reading)) in readings.into_iter().enumerate() {
            match reading {
                MapReload::Same => {}
                MapReload::Refused(reason) => {
                    error!(%interface, %reason, "the new map is refused, the old one goes on")
                }
                MapReload::New(codec) => {
                    let sent = self.deps.mapper.send(ReplaceMap { interface: place, codec }).into_actor(self);
                    ctx.spawn(sent.map(move |end, _, _| match end {
                        Ok(()) => info!(%interface, "map reloaded"),
                        Err(reason) => error!(%interface, %reason, "the map could not be replaced"),
                    }));
                }
            }
        }
    }

    fn await_change(&self, ctx: &mut Context<Self>) {
        let changed = Arc::clone(&self.changed);
        let rested = async move {
            changed.notified().await;
            let latest = Instant::now() + PATIENCE;
            while timeout_at(latest.min(Instant::now() + QUIET), changed.notified()).await.is_ok() {}
        };
        ctx.spawn(rested.into_actor(self).map(|(), act, ctx| {
            act.read_all(ctx);
            act.await_change(ctx);
        }));
    }

    fn watch(&mut self) -> notify::Result<()> {
        let changed = Arc::clone(&self.changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may have cost an event: better to look once too often.
            if event.map_or(true, |event| is_change(event.kind)) {
                changed.notify_one();
            }
        })?;
        for folder in folders(self.deps.maps.iter().filter_map(|map| map.file())) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        self.watcher = Some(watcher);
        Ok(())
    }
}

/// Looking at a file, as we do ourselves, changes nothing.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// The folders are watched, not the files: most editors put a new file in the place of the old one. Where a link is on the
/// way, both of its ends.
fn folders<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let with_target = |file: &Path| [Some(file.to_owned()), std::fs::canonicalize(file).ok()];
    files.flat_map(with_target).flatten().filter_map(|file| file.parent().map(Path::to_owned)).collect()
}

impl Actor for MapKeeperActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !self.deps.watch {
            return;
        }
        match self.watch() {
            Ok(()) => {
                self.read_all(ctx); // what changed before the watch began
                self.await_change(ctx);
            }
            Err(reason) => warn!(%reason, "the maps are not watched for changes; SIGHUP reloads them"),
        }
    }
}

impl Supervised for MapKeeperActor {}

impl Handler<ReloadMaps> for MapKeeperActor {
    type Result = ();

    fn handle(&mut self, _: ReloadMaps, ctx: &mut Self::Context) {
        self.deps.maps.iter_mut().for_each(|map| map.forget());
        self.read_all(ctx);
    }
}
