//! A MariaDB or PostgreSQL of a test's own, which it may stop, kill and start again.

use crate::{PATIENCE, free_port};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `mariadbd`
    MariaDb,
    /// `postgres`
    Postgres,
}

/// A running server with its own data; it ends with this value.
pub struct Server {
    kind: Kind,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes its data folder, which takes seconds, and starts it.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// The same with TLS, with this certificate and its key, both PEM.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start_encrypted(kind: Kind, certificate: &str, key: &str) -> Self {
        Self::start_with(kind, &[(CERTIFICATE, certificate), (KEY, key)])
    }

    fn start_with(kind: Kind, files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        if let Some((user, group)) = owner(kind) {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("giving it to the server's user");
        }
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("writing a file of TLS");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("setting its mode");
            if let Some((user, group)) = owner(kind) {
                std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("giving it to the server's user");
            }
        }
        let mut server = Server { kind, folder, port: free_port(), child: None };
        server.initialise();
        server.resume();
        server
    }

    /// URL of a database on it, for its administrator.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match self.kind {
            Kind::MariaDb => format!("mysql://root@127.0.0.1:{}/{database}", self.port),
            Kind::Postgres => format!("postgres://gw:gw@127.0.0.1:{}/{database}", self.port),
        }
    }

    /// URL of the database that is there from the beginning.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url(match self.kind {
            Kind::MariaDb => "mysql",
            Kind::Postgres => "postgres",
        })
    }

    /// Ends it in order, without waiting for its clients.
    pub fn stop(&mut self) {
        self.end(match self.kind {
            Kind::MariaDb => "TERM",
            Kind::Postgres => "INT",
        });
    }

    /// `kill -9`: what it has committed is in its own log.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Its data as it is now, taken while it does not run.
    ///
    /// # Panics
    /// The data cannot be copied.
    #[must_use]
    pub fn save(&mut self) -> TempDir {
        self.stop();
        let copy = TempDir::new().expect("a temporary folder");
        crate::copy_folder(&self.data(), &copy.path().join("data"));
        self.resume();
        copy
    }

    /// Goes on with data that were [saved](Server::save).
    ///
    /// # Panics
    /// The data cannot be copied.
    pub fn restore(&mut self, copy: &TempDir) {
        self.stop();
        fs::remove_dir_all(self.data()).expect("removing its data");
        crate::copy_folder(&copy.path().join("data"), &self.data());
        self.resume();
    }

    fn end(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let asked = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(asked.expect("running kill").success());
        child.wait().expect("its end");
    }

    /// Starts it again on the same port, and waits until it serves.
    ///
    /// # Panics
    /// It does not start.
    pub fn resume(&mut self) {
        let since = Instant::now();
        let mut child = self.spawn();
        // Listening comes before serving.
        while !self.log().contains(self.ready()) {
            assert!(since.elapsed() < PATIENCE, "the server does not start:\n{}", self.log());
            // After a kill PostgreSQL refuses to start until the last of its children has gone.
            if child.try_wait().expect("its state").is_some() {
                child = self.spawn();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    /// What it logs when it serves.
    fn ready(&self) -> &'static str {
        match self.kind {
            Kind::MariaDb => "ready for connections",
            Kind::Postgres => "ready to accept connections",
        }
    }

    fn is_encrypted(&self) -> bool {
        self.file(CERTIFICATE).is_file()
    }

    fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn initialise(&self) {
        let mut command = match self.kind {
            Kind::MariaDb => {
                let mut command = self.command(&find("mariadb-install-db"));
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.arg(format!("--datadir={}", self.data().display()));
                command
            }
            Kind::Postgres => {
                let password = self.folder.path().join("password");
                fs::write(&password, "gw").expect("writing the password's file");
                let mut command = self.command(&postgres("initdb"));
                command.arg("-D").arg(self.data()).args(["-A", "scram-sha-256", "-U", "gw", "-E", "UTF8"]);
                command.arg("--locale=C.UTF-8").arg(format!("--pwfile={}", password.display()));
                command
            }
        };
        let output = command.stdin(Stdio::null()).output().expect("running the program that makes its data folder");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn spawn(&self) -> Child {
        let mut command = match self.kind {
            Kind::MariaDb => {
                let mut command = self.command(&find("mariadbd"));
                command.arg("--no-defaults").arg(format!("--datadir={}", self.data().display()));
                command.arg(format!("--port={}", self.port)).args(["--bind-address=127.0.0.1", "--skip-log-bin"]);
                command.arg(format!("--socket={}", self.folder.path().join("s").display()));
                // With io_uring it was seen to hang at its start now and then.
                command.arg("--innodb-use-native-aio=0");
                if self.is_encrypted() {
                    command.arg(format!("--ssl-cert={}", self.file(CERTIFICATE).display()));
                    command.arg(format!("--ssl-key={}", self.file(KEY).display()));
                } else {
                    command.arg("--skip-ssl");
                }
                command
            }
            Kind::Postgres => {
                let mut command = self.command(&postgres("postgres"));
                command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
                if self.is_encrypted() {
                    command.args([
                        "-c",
                        "ssl=on",
                        "-c",
                        &format!("ssl_cert_file={}", self.file(CERTIFICATE).display()),
                    ]);
                    command.args(["-c", &format!("ssl_key_file={}", self.file(KEY).display())]);
                }
                command
            }
        };
        let log = File::create(self.folder.path().join("log")).expect("its log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("starting the server")
    }

    /// A command as the server's own user, who alone may be it when we are root.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        if let Some((user, group)) = owner(self.kind) {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// User and group to run as; none: ourselves.
fn owner(kind: Kind) -> Option<(u32, u32)> {
    if !crate::is_root() {
        return None;
    }
    let name = match kind {
        Kind::MariaDb => "mysql",
        Kind::Postgres => "postgres",
    };
    let number = |flag: &str| {
        let output = Command::new("id").args([flag, name]).output().expect("running id");
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("there is no user {name}"))
    };
    Some((number("-u"), number("-g")))
}

/// In PATH, or where Debian keeps administrators' programs.
pub(crate) fn find(program: &str) -> PathBuf {
    let missing = || panic!("{program} is not installed: run `cargo xtask services up`");
    installed(program).unwrap_or_else(missing)
}

/// A program, if it is there.
#[must_use]
pub fn installed(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]).map(|dir| dir.join(program));
    found.find(|path| path.is_file())
}

/// A program of the newest PostgreSQL; Debian does not put them into PATH.
fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max()
        .unwrap_or_else(|| panic!("postgresql is not installed: run `cargo xtask services up`"));
    newest.1.join("bin").join(program)
}
