//! Processes that answer for their state, each at a loopback address of its own and all at one port, as pods do.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use dataembassy_contract::files::STATUS_PATH;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What each process answers, by address and path; what is not there is answered with 404, and what is known already with 304.
#[derive(Clone, Default)]
pub(crate) struct Processes(Arc<Mutex<HashMap<(Ipv4Addr, String), Value>>>, Received);

/// Which reports were received, in order: whoever asks with the tag of a report has it.
pub(crate) type Received = Arc<Mutex<Vec<Value>>>;

impl Processes {
    /// Lets a process answer.
    pub(crate) fn say(&self, address: Ipv4Addr, path: &str, report: Value) {
        self.0.lock().unwrap().insert((address, path.to_owned()), report);
    }

    /// Which reports somebody has shown to have received.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.1.lock().unwrap().clone()
    }

    /// Listens at `addresses` and says at which port.
    pub(crate) async fn listen(&self, addresses: &[Ipv4Addr]) -> u16 {
        loop {
            let first = TcpListener::bind((addresses[0], 0)).await.unwrap();
            let port = first.local_addr().unwrap().port();
            let mut listeners = vec![(addresses[0], first)];
            for address in &addresses[1..] {
                match TcpListener::bind((*address, port)).await {
                    Ok(listener) => listeners.push((*address, listener)),
                    // Somebody has this port at that address: another one will be free everywhere.
                    Err(_) => break,
                }
            }
            if listeners.len() == addresses.len() {
                for (address, listener) in listeners {
                    tokio::spawn(serve(address, listener, self.clone()));
                }
                return port;
            }
        }
    }
}

/// A process that gives the same report to whoever asks; its port.
pub(crate) async fn answering(report: Value) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let processes = Processes::default();
    processes.say(Ipv4Addr::LOCALHOST, STATUS_PATH, report);
    tokio::spawn(serve(Ipv4Addr::LOCALHOST, listener, processes));
    port
}

async fn serve(address: Ipv4Addr, listener: TcpListener, processes: Processes) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { break };
            asked.push(byte);
        }
        let asked = String::from_utf8_lossy(&asked).into_owned();
        let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
        let found = processes.0.lock().unwrap().get(&(address, path)).cloned();
        let answer = match found {
            Some(report) => {
                let body = report.to_string();
                let mut hasher = DefaultHasher::new();
                body.hash(&mut hasher);
                let tag = format!("\"{:x}\"", hasher.finish());
                if asked.contains(&format!("if-none-match: {tag}")) {
                    processes.1.lock().unwrap().push(report);
                    "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
                } else {
                    format!(
                        "HTTP/1.1 200 OK\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                }
            }
            None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        // The other side may hang up on an answer that it does not want.
        drop(stream.write_all(answer.as_bytes()).await);
    }
}
