//! A viewer of a VNC server: as much of RFB 3.8 (RFC 6143) as a key and the picture that answers it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Security type `None`, and a result that is not a refusal.
const WITHOUT_PASSWORD: u8 = 1;
const ACCEPTED: u32 = 0;
/// Messages of the client.
const SET_ENCODINGS: u8 = 2;
const REQUEST_UPDATE: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
/// Messages of the server.
const UPDATE: u8 = 0;
const BELL: u8 = 2;
const CUT_TEXT: u8 = 3;
/// Nothing that a test waits for takes longer.
const LIMIT: Duration = Duration::from_secs(10);
/// What comes after it comes after a pause.
const QUIET: Duration = Duration::from_millis(250);

/// A connected viewer, which has seen the whole picture and has asked for what changes.
#[derive(Debug)]
pub struct Viewer {
    stream: TcpStream,
    size: [u16; 2],
    pixel_bytes: usize,
}

impl Viewer {
    /// Connects to a server that wants no password.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it can be set");
        let mut viewer = Self {
            stream,
            size: [0; 2],
            pixel_bytes: 4,
        };
        viewer.wait_at_most(LIMIT);
        viewer.shake_hands();
        viewer.ask(false);
        viewer.see();
        viewer.ask(true);
        viewer
    }

    fn shake_hands(&mut self) {
        let _version = self.take::<12>();
        self.say(b"RFB 003.008\n");
        let [types] = self.take();
        for _ in 0..types {
            let _offered = self.take::<1>();
        }
        self.say(&[WITHOUT_PASSWORD]);
        assert_eq!(u32::from_be_bytes(self.take()), ACCEPTED);
        // Others may look on.
        self.say(&[1]);
        self.size = [(); 2].map(|()| u16::from_be_bytes(self.take()));
        let format = self.take::<16>();
        self.pixel_bytes = usize::from(format[0]) / 8;
        let name = u32::from_be_bytes(self.take());
        self.skip(name as usize);
        // Raw pixels alone.
        self.say(&[SET_ENCODINGS, 0, 0, 1, 0, 0, 0, 0]);
    }

    /// Puts the pointer somewhere.
    pub fn points(&mut self, x: u16, y: u16) {
        let [x, y] = [x, y].map(u16::to_be_bytes);
        self.say(&[&[POINTER, 0], &x[..], &y[..]].concat());
    }

    /// Sees all pictures that come, until none has come for a while.
    pub fn settle(&mut self) {
        while self.comes() {
            self.sees();
        }
    }

    /// Whether a picture comes of a key, which is seen.
    pub fn answers(&mut self, key: char) -> bool {
        let _when = self.presses(key);
        let comes = self.comes();
        if comes {
            self.sees();
        }
        comes
    }

    fn comes(&mut self) -> bool {
        self.wait_at_most(QUIET);
        let comes = self.stream.peek(&mut [0]).is_ok();
        self.wait_at_most(LIMIT);
        comes
    }

    fn wait_at_most(&self, limit: Duration) {
        let limited = self.stream.set_read_timeout(Some(limit));
        limited.expect("it can be set");
    }

    /// Presses a key and lets it go, waits for the picture that comes of it, and asks for the next one. Says how long the first
    /// byte took.
    pub fn types(&mut self, key: char) -> Duration {
        let began = self.presses(key);
        let _one = self.stream.peek(&mut [0]).expect("a picture comes");
        let took = began.elapsed();
        self.sees();
        took
    }

    /// Presses a key and lets it go. Says when.
    pub fn presses(&mut self, key: char) -> Instant {
        let code = u32::from(key).to_be_bytes();
        let press = |down: u8| [&[KEY, down, 0, 0], &code[..]].concat();
        let both = [press(1), press(0)].concat();
        let began = Instant::now();
        self.say(&both);
        began
    }

    /// Sees the picture that comes of it, and asks for the next one.
    pub fn sees(&mut self) {
        self.see();
        self.ask(true);
    }

    fn ask(&mut self, incremental: bool) {
        let [width, height] = self.size.map(u16::to_be_bytes);
        let area = [&[0; 4], &width[..], &height[..]].concat();
        self.say(&[&[REQUEST_UPDATE, incremental.into()], &area[..]].concat());
    }

    /// Reads up to the end of a picture.
    fn see(&mut self) {
        loop {
            let [kind] = self.take();
            match kind {
                UPDATE => break,
                BELL => {}
                CUT_TEXT => {
                    let _padding = self.take::<3>();
                    let length = u32::from_be_bytes(self.take());
                    self.skip(length as usize);
                }
                other => panic!("message {other} of the server"),
            }
        }
        let _padding = self.take::<1>();
        let rectangles = u16::from_be_bytes(self.take());
        for _ in 0..rectangles {
            let _place = self.take::<4>();
            let [width, height] = [(); 2].map(|()| usize::from(u16::from_be_bytes(self.take())));
            let encoding = i32::from_be_bytes(self.take());
            assert_eq!(encoding, 0, "raw pixels were asked for");
            self.skip(width * height * self.pixel_bytes);
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    fn take<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        self.stream.read_exact(&mut bytes).expect("the server says");
        bytes
    }

    fn skip(&mut self, bytes: usize) {
        self.stream
            .read_exact(&mut vec![0; bytes])
            .expect("the server says");
    }
}
