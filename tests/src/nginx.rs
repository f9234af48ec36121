//! A real reverse proxy that serves the gateway under a path, as Home Assistant's ingress does.

use crate::server::installed;
use crate::{PATIENCE, free_port};
use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running nginx; it ends with this value.
pub struct PathProxy {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl PathProxy {
    /// Passes a path that nobody could know before on to the gateway's `http` port; none where nginx is not installed, and
    /// need not be.
    ///
    /// # Panics
    /// When it is not installed and must be, or does not start.
    #[must_use]
    pub fn start(http: u16) -> Option<Self> {
        let Some(program) = installed("nginx") else {
            assert!(std::env::var_os("CI").is_none(), "nginx is not installed; `cargo xtask services up` does that");
            eprintln!("SKIPPED: nginx is not installed");
            return None;
        };
        let (folder, port) = (TempDir::new().expect("a temporary folder"), free_port());
        let prefix = prefix(&folder);
        let configuration = format!(
            "daemon off; user root; pid nginx.pid; error_log stderr; worker_processes 1; events {{}}\n\
             http {{\n\
             access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
             server {{\n\
             listen 127.0.0.1:{port};\n\
             location /house/{prefix}/ {{\n\
             proxy_pass http://127.0.0.1:{http}/; proxy_set_header Host $http_host; proxy_buffering off;\n\
             }}\n\
             location = /outer {{\n\
             default_type text/html; return 200 '<!doctype html><title>Outer</title><iframe src=\"/house/{prefix}/\"></iframe>';\n\
             }}\n\
             }}\n\
             }}\n"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).expect("writing its configuration");
        let child = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdout(Stdio::null())
            .spawn()
            .expect("starting nginx");
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < PATIENCE, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Some(PathProxy { child, folder, port })
    }

    /// Where the page begins.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/house/{}/", self.port, prefix(&self.folder))
    }

    /// A page of the same origin that has the gateway's in a frame.
    #[must_use]
    pub fn outer(&self) -> String {
        format!("http://127.0.0.1:{}/outer", self.port)
    }
}

/// A folder's random name without its dot.
fn prefix(folder: &TempDir) -> String {
    let name = folder.path().file_name().unwrap_or_default();
    name.to_string_lossy().trim_start_matches('.').to_owned()
}

impl Drop for PathProxy {
    fn drop(&mut self) {
        // Its worker ends with it when it is asked to; killed, it would leave the worker behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
