//! Journal and database, each put back as it was at another time: from then on nothing is lost and nothing stored twice.

use crate::opening::reading;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::{Gateway, Home};
use hearthgate_tests::publisher::{Options, Publisher};
use hearthgate_tests::server::{Kind, Server};
use hearthgate_tests::{PATIENCE, copy_folder, http, until};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use tempfile::TempDir;
use tokio::task::block_in_place;

/// What is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The state folder without the database.
    Journal,
    Database,
    Both,
}

/// As what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it was before messages that the other one has.
    Older,
    /// As it was after messages that the other one does not have, which had others instead.
    Newer,
    /// It is gone.
    Missing,
}

/// A gateway's folder and its database.
struct Site {
    home: Home,
    /// None for SQLite, whose file is in the state folder.
    server: Option<Server>,
    database: Database,
}

/// Of a site, while nothing runs.
struct Copy {
    folder: TempDir,
    server: Option<TempDir>,
}

impl Site {
    async fn new(kind: Option<Kind>) -> Self {
        let home = Home::new();
        let server = kind.map(|kind| block_in_place(|| Server::start(kind)));
        let database = match &server {
            Some(server) => Database::create(&server.admin_url()).await,
            None => {
                configure(&home, None);
                drop(ready(&home).await);
                Database::sqlite(home.path()).await
            }
        };
        configure(&home, server.as_ref().map(|_| &database));
        Site { home, server, database }
    }

    /// Starts the gateway, and publishes messages until each is acknowledged.
    async fn publish(&self, range: Range<usize>) -> Gateway {
        let gateway = ready(&self.home).await;
        let publisher = Publisher::start(Options::new(self.home.mqtt, "device"));
        for index in range {
            publisher.publish("sensors/aht10", reading(index, 1)).await;
        }
        publisher.all_acknowledged(PATIENCE).await.expect("acknowledgements");
        gateway
    }

    async fn stored(&self) -> BTreeMap<usize, usize> {
        let mut times = BTreeMap::new();
        let Ok(page) = self.database.page("AHT10_SENSOR", "temperature", 0, 1_000_000).await else { return times };
        for row in page {
            *times.entry(row.value.parse().expect("a number")).or_default() += 1;
        }
        times
    }

    async fn wait_until_stored(&self, range: Range<usize>) {
        until("all are stored", async || {
            let stored = self.stored().await;
            range.clone().all(|index| stored.contains_key(&index)).then_some(())
        })
        .await;
    }

    fn save(&mut self) -> Copy {
        let folder = TempDir::new().expect("a temporary folder");
        copy_folder(&self.home.path().join("data"), &folder.path().join("data"));
        Copy { folder, server: self.server.as_mut().map(|server| block_in_place(|| server.save())) }
    }

    fn restore(&mut self, part: Part, copy: &Copy) {
        let from = copy.folder.path().join("data");
        match (part, &mut self.server, &copy.server) {
            (Part::Both, None, _) => self.replace_files(&from, |_| true),
            (Part::Database, None, _) => self.replace_files(&from, is_of_sqlite),
            (Part::Journal, _, _) => self.replace_files(&from, |name| !is_of_sqlite(name)),
            (part, Some(server), Some(saved)) => {
                block_in_place(|| server.restore(saved));
                if part == Part::Both {
                    self.replace_files(&from, |_| true);
                }
            }
            (_, Some(_), None) => unreachable!("a copy of a site with a server has the server's data"),
        }
    }

    fn replace_files(&self, from: &Path, is_concerned: impl Fn(&str) -> bool) {
        let to = self.home.path().join("data");
        remove_files(&to, &is_concerned);
        for name in names(from).into_iter().filter(|name| is_concerned(name)) {
            copy_folder(&from.join(&name), &to.join(&name));
        }
    }

    /// A server has an empty database instead.
    async fn remove(&mut self, part: Part) {
        let data = self.home.path().join("data");
        match part {
            Part::Journal => remove_files(&data, |name| !is_of_sqlite(name)),
            Part::Database => remove_files(&data, is_of_sqlite),
            Part::Both => remove_files(&data, |_| true),
        }
        if let Some(server) = self.server.as_ref().filter(|_| part != Part::Journal) {
            self.database = Database::create(&server.admin_url()).await;
            configure(&self.home, Some(&self.database));
        }
    }

    /// Opens the file of SQLite that is there now, instead of the one that was there before.
    async fn open_database_again(&mut self) {
        if self.server.is_none() {
            self.database = Database::sqlite(self.home.path()).await;
        }
    }
}

fn configure(home: &Home, database: Option<&Database>) {
    let database = database.map_or(String::new(), |database| format!("[database]\nurl = \"{}\"\n", database.url));
    home.configure(&format!("[broker]\nenabled = true\n{database}"));
}

async fn ready(home: &Home) -> Gateway {
    let gateway = home.start();
    until("ready", async || http::is_ready(home.http).then_some(())).await;
    gateway
}

fn is_of_sqlite(name: &str) -> bool {
    name.starts_with("hearthgate.db")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8")).collect()
}

fn remove_files(folder: &Path, is_concerned: impl Fn(&str) -> bool) {
    for name in names(folder).into_iter().filter(|name| is_concerned(name)) {
        let path = folder.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("removing a part of the state");
    }
}

/// Words of the log that say what was found, if anything is to be said.
fn finding(part: Part, state: State) -> Option<&'static str> {
    match (part, state) {
        (Part::Journal, State::Older) => Some("the journal is older than the database"),
        (Part::Database, State::Older) => Some("the database is older than the journal"),
        (Part::Journal | Part::Database, State::Newer) => Some("written with another copy of this journal"),
        _ => None,
    }
}

async fn after(kind: Option<Kind>, part: Part, state: State) {
    let mut site = Site::new(kind).await;
    let gateway = site.publish(0..50).await;
    site.wait_until_stored(0..50).await;
    drop(gateway.kill());
    let older = site.save();
    let gateway = site.publish(50..100).await;
    site.wait_until_stored(50..100).await;
    // In order, so that each of the two has noted how far it is.
    drop(gateway.terminate());
    match state {
        State::Older => site.restore(part, &older),
        State::Missing => site.remove(part).await,
        State::Newer => {
            let newer = site.save();
            site.restore(Part::Both, &older);
            let gateway = site.publish(100..150).await;
            site.open_database_again().await;
            site.wait_until_stored(100..130).await;
            drop(gateway.kill());
            site.restore(part, &newer);
        }
    }
    let what = format!("{kind:?} {part:?} {state:?}");
    let gateway = site.publish(1_000..1_100).await;
    site.open_database_again().await;
    site.wait_until_stored(1_000..1_100).await;
    let stored = site.stored().await;
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{what}: stored twice: {twice:?}");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{what}: {log}");
    if let Some(words) = finding(part, state) {
        assert!(log.contains(words), "{what}: nothing says that {words}:\n{log}");
    }
}

/// All that can be put back, as everything that it can be.
async fn after_everything(kind: Option<Kind>) {
    for part in [Part::Journal, Part::Database, Part::Both] {
        for state in [State::Older, State::Newer, State::Missing] {
            after(kind, part, state).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_put_back_with_sqlite_what_comes_from_then_on_is_stored_once() {
    after_everything(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_put_back_with_mariadb_what_comes_from_then_on_is_stored_once() {
    after_everything(Some(Kind::MariaDb)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_put_back_with_postgresql_what_comes_from_then_on_is_stored_once() {
    after_everything(Some(Kind::Postgres)).await;
}
