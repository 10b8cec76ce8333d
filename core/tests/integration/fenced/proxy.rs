//! A door to a broker that may tell of no broker, as one does that the controller has fenced.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const HOST: &str = "127.0.0.1";
const LEADER_NOT_AVAILABLE: i16 = 5;
const NOBODY: i32 = -1;

/// Clients that begin here come back here: the port that the broker advertises is replaced by this one.
pub struct Proxy {
    state: Arc<State>,
    pub bootstrap: String,
}

struct State {
    /// The ports of the broker and of this door.
    ports: [i32; 2],
    topic: String,
    fenced: AtomicBool,
    answers: AtomicU32,
}

impl Proxy {
    /// The broker has one topic, with one partition.
    pub fn start(bootstrap: &str, topic: &str) -> Proxy {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let target = bootstrap.split(',').next().expect("a broker").to_owned();
        let advertised = target.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let state = Arc::new(State {
            ports: [advertised, i32::from(port)],
            topic: topic.to_owned(),
            fenced: AtomicBool::new(false),
            answers: AtomicU32::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(broker)) = (client, TcpStream::connect(&target)) else { continue };
                shared.clone().join(client, broker);
            }
        });
        Proxy { state, bootstrap: format!("{HOST}:{port}") }
    }

    pub fn fence(&self, fenced: bool) {
        self.state.fenced.store(fenced, Ordering::SeqCst);
    }

    /// How many requests were answered with no broker.
    pub fn answers(&self) -> u32 {
        self.state.answers.load(Ordering::SeqCst)
    }
}

/// The requests under way, by their numbers.
type Asked = Arc<Mutex<HashMap<i32, i16>>>;

impl State {
    fn join(self: Arc<State>, client: TcpStream, broker: TcpStream) {
        let asked = Asked::default();
        let both = || (client.try_clone().expect("a socket"), broker.try_clone().expect("a socket"));
        let ((from, to_client), (back, to_broker)) = (both(), both());
        let (state, noted, out) = (self.clone(), asked.clone(), Arc::new(Mutex::new(back)));
        let answers = out.clone();
        thread::spawn(move || state.forth(from, &to_client, &noted, &answers));
        thread::spawn(move || self.back(to_broker, &asked, &out));
    }

    fn forth(&self, mut client: TcpStream, broker: &TcpStream, asked: &Asked, answers: &Mutex<TcpStream>) {
        while let Some(request) = frame(&mut client) {
            let [key, version] = [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
            let number = i32::from_be_bytes(request[4..8].try_into().expect("four bytes"));
            let sent = if key == METADATA && self.fenced.load(Ordering::SeqCst) {
                self.answers.fetch_add(1, Ordering::SeqCst);
                send(&answers.lock().unwrap(), &no_broker(number, version, &self.topic))
            } else {
                asked.lock().unwrap().insert(number, key);
                send(broker, &request)
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = broker.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }

    fn back(&self, mut broker: TcpStream, asked: &Asked, client: &Mutex<TcpStream>) {
        while let Some(mut answer) = frame(&mut broker) {
            let number = i32::from_be_bytes(answer[..4].try_into().expect("four bytes"));
            let key = asked.lock().unwrap().remove(&number);
            if key.is_some_and(|key| matches!(key, METADATA | FIND_COORDINATOR)) {
                self.advertise(&mut answer);
            }
            if send(&client.lock().unwrap(), &answer).is_err() {
                break;
            }
        }
        let _ = client.lock().unwrap().shutdown(Shutdown::Both);
    }

    fn advertise(&self, answer: &mut [u8]) {
        let [theirs, ours] = self.ports.map(|port| [HOST.as_bytes(), &port.to_be_bytes()].concat());
        for at in 0..answer.len().saturating_sub(theirs.len() - 1) {
            if answer[at..].starts_with(&theirs) {
                answer[at..at + ours.len()].copy_from_slice(&ours);
            }
        }
    }
}

fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; i32::from_be_bytes(length) as usize];
    from.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn send(mut to: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(&[&(bytes.len() as i32).to_be_bytes(), bytes].concat())
}

/// A response of Metadata with no broker and one topic whose partition has no leader.
fn no_broker(number: i32, version: i16, topic: &str) -> Vec<u8> {
    assert!((4..=13).contains(&version), "version {version} of Metadata is not known here");
    let compact = version >= 9;
    let mut bytes = number.to_be_bytes().to_vec();
    // Tagged fields of header and structures, none of which has any.
    let tags: &[u8] = if compact { &[0] } else { &[] };
    let list = |length: usize| if compact { vec![length as u8 + 1] } else { (length as i32).to_be_bytes().to_vec() };
    let text = |text: &str| {
        let length = if compact { vec![text.len() as u8 + 1] } else { (text.len() as i16).to_be_bytes().to_vec() };
        [length, text.into()].concat()
    };
    bytes.extend(tags);
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend(list(0));
    bytes.extend(text("cluster"));
    bytes.extend(NOBODY.to_be_bytes());
    bytes.extend(list(1));
    bytes.extend(0_i16.to_be_bytes());
    bytes.extend(text(topic));
    if version >= 10 {
        bytes.extend([0; 16]);
    }
    bytes.push(0);
    bytes.extend(list(1));
    bytes.extend(LEADER_NOT_AVAILABLE.to_be_bytes());
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend(NOBODY.to_be_bytes());
    if version >= 7 {
        bytes.extend(0_i32.to_be_bytes());
    }
    bytes.extend([list(0), list(0)].concat());
    if version >= 5 {
        bytes.extend(list(0));
    }
    bytes.extend(tags);
    if version >= 8 {
        bytes.extend(i32::MIN.to_be_bytes());
    }
    bytes.extend(tags);
    if (8..=10).contains(&version) {
        bytes.extend(i32::MIN.to_be_bytes());
    }
    if version >= 13 {
        bytes.extend(0_i16.to_be_bytes());
    }
    bytes.extend(tags);
    bytes
}
