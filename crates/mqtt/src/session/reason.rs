//! Reason codes in words.

/// Words for a CONNACK return code of MQTT 3.1.1 (section 3.2.2.3).
pub(super) fn connack_v3(code: u8) -> &'static str {
    match code {
        0 => "connection accepted",
        1 => "the broker does not speak MQTT 3.1.1; try protocol 5",
        2 => "the broker refuses the client id",
        3 => "the broker is unavailable",
        4 => "wrong user name or password",
        5 => "not authorized: the broker does not let this user or client id in",
        _ => "unknown return code",
    }
}

/// Words for a reason code of MQTT 5.0 (section 2.4).
pub(super) fn reason_v5(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x04 => "disconnect with will",
        0x10 => "no matching subscribers",
        0x11 => "no subscription existed",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "the broker does not speak MQTT 5; try protocol 3.1.1",
        0x85 => "the broker refuses the client id",
        0x86 => "wrong user name or password",
        0x87 => "not authorized",
        0x88 => "the broker is unavailable",
        0x89 => "the broker is busy",
        0x8a => "banned by the broker",
        0x8b => "the broker is shutting down",
        0x8c => "bad authentication method",
        0x8d => "the broker heard nothing within the keep-alive time",
        0x8e => "another client took the session over with the same client id",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "the broker does not support retained messages",
        0x9b => "the broker does not support this QoS",
        0x9c => "the broker asks to use another server",
        0x9d => "the broker has moved",
        0x9e => "the broker does not support shared subscriptions",
        0x9f => "connection rate exceeded",
        0xa0 => "the broker's maximum connect time is over",
        0xa1 => "the broker does not support subscription identifiers",
        0xa2 => "the broker does not support wildcard subscriptions",
        _ => "unknown reason code",
    }
}

/// The reason code for another client having taken over our session.
pub(super) const TAKEN_OVER: u8 = 0x8e;

/// Whether trying again soon is pointless: someone has to change a setting first.
pub(super) fn is_refusal(v5: bool, code: u8) -> bool {
    if v5 { matches!(code, 0x84..=0x87 | 0x8a | 0x8c) } else { matches!(code, 1 | 2 | 4 | 5) }
}
