//! Encoder and capture sessions through the sys layer, which shows what the safe wrapper rejects, and
//! events.

#![expect(unsafe_code, reason = "calls the C interface")]

use std::mem::zeroed;

use nvml_scenario::scenario::{CaptureSession, EncoderSession, Event};
use nvml_wrapper::{Device, Nvml, bitmasks::event::EventTypes, error::NvmlError};
use nvml_wrapper_sys::bindings::{nvmlEncoderSessionInfo_t, nvmlEventData_t, nvmlFBCSessionInfo_t};

use self::node::{FIRST, Node, two_devices};

mod node;

const SUCCESS: u32 = 0;
const INSUFFICIENT_SIZE: u32 = 7;
const TIMEOUT: u32 = 10;

fn encoder_sessions(
    nvml: &Nvml,
    device: &Device<'_>,
    capacity: u32,
) -> (u32, u32, Vec<nvmlEncoderSessionInfo_t>) {
    let mut count = capacity;
    // SAFETY: integers only; the buffer holds as many as the count says.
    let (code, sessions) = unsafe {
        let mut sessions: Vec<nvmlEncoderSessionInfo_t> = vec![zeroed(); capacity as usize];
        let code = nvml.lib().nvmlDeviceGetEncoderSessions(
            device.handle(),
            &raw mut count,
            sessions.as_mut_ptr(),
        );
        (code, sessions)
    };
    (code, count, sessions)
}

#[test]
fn an_av1_session_is_beside_an_h264_one() {
    let mut scenario = two_devices();
    let session = |id, codec| EncoderSession {
        id,
        pid: 40 + id,
        codec,
        width: 1920,
        height: 1080,
        fps: 60,
        latency_us: 4500,
        ..EncoderSession::default()
    };
    scenario.devices[0].encoder_sessions = vec![session(1, 0), session(2, 2), session(3, 255)];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();

    let (code, count, _) = encoder_sessions(&nvml, &device, 0);
    assert_eq!((code, count), (SUCCESS, 3), "the size is a success");
    let (code, count, _) = encoder_sessions(&nvml, &device, 2);
    assert_eq!((code, count), (INSUFFICIENT_SIZE, 3));
    let (code, count, sessions) = encoder_sessions(&nvml, &device, 5);
    assert_eq!((code, count), (SUCCESS, 3));
    let seen: Vec<_> = sessions[..3]
        .iter()
        .map(|one| (one.pid, one.codecType))
        .collect();
    assert_eq!(seen, [(41, 0), (42, 2), (43, 255)]);
    assert_eq!(
        (sessions[0].averageFps, sessions[0].averageLatency),
        (60, 4500)
    );
    assert_eq!(
        (sessions[0].hResolution, sessions[0].vResolution),
        (1920, 1080)
    );

    assert!(matches!(
        device.encoder_sessions(),
        Err(NvmlError::UnexpectedVariant(2))
    ));
    assert_eq!(device.encoder_stats().unwrap().session_count, 3);
}

#[test]
fn a_capture_session_keeps_flags_that_nobody_knows() {
    let mut scenario = two_devices();
    scenario.devices[0].capture_sessions = vec![CaptureSession {
        id: 1,
        pid: 50,
        display: 2,
        kind: 4,
        flags: 1 << 20,
        width: 2560,
        height: 1440,
        fps: 30,
        latency_us: 900,
        ..CaptureSession::default()
    }];
    let node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    let mut count = 1;
    // SAFETY: integers only; the buffer holds one.
    let (code, session) = unsafe {
        let mut session: nvmlFBCSessionInfo_t = zeroed();
        let code =
            nvml.lib()
                .nvmlDeviceGetFBCSessions(device.handle(), &raw mut count, &raw mut session);
        (code, session)
    };
    assert_eq!((code, count), (SUCCESS, 1));
    assert_eq!(
        (session.pid, session.displayOrdinal, session.sessionType),
        (50, 2, 4)
    );
    assert_eq!((session.sessionFlags, session.averageFPS), (1 << 20, 30));
    assert!(matches!(
        device.fbc_sessions_info(),
        Err(NvmlError::IncorrectBits(_))
    ));
    assert_eq!(device.fbc_stats().unwrap().sessions_count, 1);
}

#[test]
fn an_xid_is_delivered_once_per_event_set() {
    let xid = |sequence, value| Event {
        sequence,
        value,
        ..Event::default()
    };
    let mut scenario = two_devices();
    scenario.devices[0].events = vec![xid(1, 13)];
    let mut node = Node::new(scenario);
    let nvml = node.init().unwrap();
    let kinds = EventTypes::CRITICAL_XID_ERROR;
    let device = nvml.device_by_index(0).unwrap();
    assert!(device.supported_event_types().unwrap().contains(kinds));
    let sets = [(); 2].map(|()| {
        let set = nvml.create_event_set().unwrap();
        device.register_events(kinds, set).unwrap()
    });
    let wait = |set: &nvml_wrapper::EventSet<'_>, timeout_ms| {
        // SAFETY: integers and a pointer that may be null.
        let mut event: nvmlEventData_t = unsafe { zeroed() };
        // SAFETY: the set is alive, and the event is written to.
        let code = unsafe {
            nvml.lib()
                .nvmlEventSetWait_v2(set.handle(), &raw mut event, timeout_ms)
        };
        (code, event)
    };
    for set in &sets {
        let (code, event) = wait(set, 0);
        assert_eq!((code, event.eventType, event.eventData), (SUCCESS, 8, 13));
        assert_eq!(event.gpuInstanceId, u32::MAX);
        assert_eq!(wait(set, 20).0, TIMEOUT);
    }
    node.change(|scenario| scenario.devices[0].events.push(xid(2, 79)));
    let event = sets[0].wait(1000).unwrap();
    assert_eq!(event.device.uuid().unwrap(), FIRST);
    assert_eq!(wait(&sets[1], 1000).1.eventData, 79);
}
