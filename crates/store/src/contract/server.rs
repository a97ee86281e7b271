//! A PostgreSQL of a test's own: in a temporary folder, on a free port, gone with it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server.
pub struct Server {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// Where Debian puts its programs, below each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// Who it runs as where the test is root's, which it refuses to be: the first that is there.
const USERS: [&str; 2] = ["postgres", "nobody"];

#[expect(clippy::unwrap_used, reason = "a test's part: a failure is a panic")]
impl Server {
    /// Makes an empty database and serves it.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same; with a certificate and its key, as PEM, it speaks TLS.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(tls: Option<(&str, &str)>) -> Self {
        let folder = TempDir::with_prefix("codex-proxy-postgres-").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let cluster = folder.path().join("cluster");
        std::fs::create_dir(&cluster).unwrap();
        std::fs::set_permissions(&cluster, PermissionsExt::from_mode(0o700)).unwrap();
        let files = [folder.path().join("tls.crt"), folder.path().join("tls.key")];
        let texts = tls.map(|(certificate, key)| [certificate, key]);
        for (path, text) in files.iter().zip(texts.into_iter().flatten()) {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        if let Some((user, group)) = owner() {
            let all =
                [folder.path(), &cluster].into_iter().chain(files.iter().map(PathBuf::as_path));
            for path in all.filter(|path| path.exists()) {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let made = command("initdb")
            .arg("--pgdata")
            .arg(&cluster)
            .args([
                "--username=codex",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, port: free_port(), process: None };
        server.begin();
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// The certificate that it shows, where it speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// Its address through another port, as that of a relay.
    pub fn url_by(&self, port: u16) -> String {
        format!("postgres://codex@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Serves again, after [`Self::end`].
    pub fn begin(&mut self) {
        let folder = self.folder.path();
        let mut serve = command("postgres");
        serve.arg("-D").arg(folder.join("cluster")).arg("-p").arg(self.port.to_string());
        let sockets = format!("unix_socket_directories={}", folder.display());
        for setting in [&sockets, "listen_addresses=127.0.0.1", "fsync=off", "max_connections=60"] {
            serve.args(["-c", setting]);
        }
        if self.certificate().exists() {
            for setting in ["ssl_cert_file=../tls.crt", "ssl_key_file=../tls.key", "ssl=on"] {
                serve.args(["-c", setting]);
            }
        }
        self.process = Some(serve.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut ready = command("pg_isready");
        ready.args(["-h", "127.0.0.1", "-U", "codex", "-p"]).arg(self.port.to_string());
        while !ready.status().unwrap().success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once, as a crash would, with all that it serves: its next start recovers. A plain
    /// kill would leave those of its processes that hold connections answering for a moment.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let quit = ["-QUIT".to_owned(), process.id().to_string()];
            let asked = Command::new("kill").args(quit).stderr(Stdio::null()).status();
            if !asked.is_ok_and(|asked| asked.success()) {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// One of its programs, run as who may.
fn command(program: &str) -> Command {
    let program = programs().join(program);
    let mut command = match owner() {
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
            command.args(["--clear-groups", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// As whom it runs, where the test is root's.
fn owner() -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let is_root = Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0);
    is_root.then(|| USERS.into_iter().find_map(ids)).flatten()
}

#[expect(clippy::panic, reason = "a test's part: a failure is a panic")]
fn programs() -> PathBuf {
    let versions = std::fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("initdb").exists()).max();
    newest.unwrap_or_else(|| panic!("PostgreSQL is missing: apt-get install postgresql"))
}

#[expect(clippy::unwrap_used, reason = "a test's part: a failure is a panic")]
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
