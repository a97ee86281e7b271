//! Where it listens: several places, files of this machine, and clients whose machine is gone.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::harness::client::{ask, request};
use crate::harness::{Gateway, Raw, simulator, until, url};

/// The answer to a question over a socket file.
async fn models(socket: &Path, key: &str) -> u16 {
    let mut client = Raw::over(UnixStream::connect(socket).await.unwrap());
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    client.send(request("GET", "/v1/models", &headers, "").as_bytes()).await;
    client.answer().await.status
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn it_listens_on_the_network_and_on_socket_files_at_once() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let more = ["127.0.0.1:0", "unix:gateway.sock"];
    let gateway = Gateway::listening(folder, &url(&simulator), &[], &more).ok().unwrap();
    let key = gateway.key("ada@example.com").value;
    let socket = gateway.folder.path().join("gateway.sock");

    assert_eq!(models(&socket, &key).await, 200);
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(gateway.records().len(), 1);
    let (folder, well, said) = gateway.stop();
    assert!(well, "{said}");
    assert_eq!(said.matches("listens on http://127.0.0.1:").count(), 2, "{said}");
    assert!(said.contains("listens on unix:gateway.sock"), "{said}");
    assert!(!folder.path().join("gateway.sock").exists());
    simulator.stop().await;
}

#[tokio::test]
async fn a_socket_file_is_replaced_when_nobody_answers_there_and_only_then() {
    let simulator = simulator().await;
    let (url, more) = (url(&simulator), ["unix:gateway.sock"]);
    let settings = [("CODEX_PROXY_SOCKET_MODE", "0660")];
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");

    // Somebody listens there.
    let other = UnixListener::bind(&socket).unwrap();
    let (folder, said) = Gateway::listening(folder, &url, &settings, &more).err().unwrap();
    assert!(said.contains("listening on unix:gateway.sock (is another program there?"), "{said}");
    assert!(UnixStream::connect(&socket).await.is_ok());

    // The one that listened is gone; its file is not.
    drop(other);
    let gateway = Gateway::listening(folder, &url, &settings, &more).ok().unwrap();
    let key = gateway.key("ada@example.com").value;
    assert_eq!((models(&socket, &key).await, mode(&socket)), (200, 0o660));
    let folder = gateway.kill();

    // What is no socket is nobody's to remove.
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "precious").unwrap();
    let (_folder, said) = Gateway::listening(folder, &url, &settings, &more).err().unwrap();
    assert!(said.contains("listening on unix:gateway.sock"), "{said}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
    simulator.stop().await;
}

#[tokio::test]
async fn clients_are_asked_now_and_then_whether_they_are_still_there() {
    let simulator = simulator().await;
    let gateway = Gateway::start(&url(&simulator));
    let client = TcpStream::connect(gateway.address).await.unwrap();
    let ports = (gateway.address.port(), client.local_addr().unwrap().port());
    until("the keepalive timer of the gateway's side", || timer(ports) == Some("02")).await;
    simulator.stop().await;
}

/// Which timer the system runs for the connection between two ports of this machine, as
/// `/proc/net/tcp` tells it: `02` is keepalive.
fn timer((local, remote): (u16, u16)) -> Option<&'static str> {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = (format!("0100007F:{local:04X}"), format!("0100007F:{remote:04X}"));
    let mut found = connections.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = found.find(|fields| (fields[1], fields[2]) == (&*ends.0, &*ends.1))?;
    Some(if fields[5].starts_with("02:") { "02" } else { "another" })
}

/// Passes these sockets to a program as systemd does: from descriptor 3 on, with names.
fn pass(api: &TcpListener, admin: &TcpListener) -> String {
    for listener in [api, admin] {
        rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).unwrap();
    }
    let (api, admin) = (api.as_raw_fd(), admin.as_raw_fd());
    format!("LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=api:admin exec \"$@\" 3<&{api} 4<&{admin}")
}

#[tokio::test]
async fn sockets_that_systemd_opened_outlive_the_process_and_nobody_is_refused() {
    let simulator = simulator().await;
    let [api, admin] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let shell = pass(&api, &admin);
    let below = ["bash", "-c", &shell, "bash"];
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::launch(folder, &url(&simulator), &[], &below);
    let places = (gateway.address, gateway.operators);
    assert_eq!(places, (api.local_addr().unwrap(), Some(admin.local_addr().unwrap())));
    let key = gateway.key("ada@example.com").value;
    assert_eq!(ask(gateway.address, "GET", "/healthz", &[], "").await.status, 404);
    assert_eq!(ask(places.1.unwrap(), "GET", "/healthz", &[], "").await.status, 200);

    // Nobody is there; who comes now is answered by the next.
    let (folder, well, said) = gateway.stop();
    assert!(well && said.matches("listens on").count() == 1, "{said}");
    let mut client = Raw::connect(places.0).await;
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    client.send(request("GET", "/v1/models", &headers, "").as_bytes()).await;
    let _gateway = Gateway::launch(folder, &url(&simulator), &[], &below);
    assert_eq!(client.answer().await.status, 200);
    simulator.stop().await;
}
