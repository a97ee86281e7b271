//! Names that only a test knows: a small DNS server, and programs that ask it.

use std::net::Ipv4Addr;
use std::path::Path;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A server that says of every name that it is at its own address.
pub(crate) struct Names {
    /// An address of this machine, and nobody else's.
    pub(crate) address: Ipv4Addr,
    _task: JoinSet<()>,
}

impl Names {
    /// Answers from now on, with a number of its own. It takes root.
    pub(crate) async fn start(number: u8) -> Self {
        let address = Ipv4Addr::new(127, 7, 53, number);
        let socket = UdpSocket::bind((address, 53)).await.expect("port 53 takes root");
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&answer(&buffer[..length], address), from).await;
            }
        });
        Self { address, _task: task }
    }

    /// What runs a program that asks here for names. The file goes into this folder.
    pub(crate) fn asked_here(&self, folder: &Path) -> Vec<String> {
        let file = folder.join("resolv.conf");
        std::fs::write(&file, format!("nameserver {}\n", self.address)).unwrap();
        let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", file.display());
        ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

/// RFC 1035 §4: the question comes back with an answer, for addresses of the old kind.
fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let is_address = question[name_end..name_end + 2] == [0, 1];
    let mut answer = question[..name_end + 4].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    if is_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
