//! Reason codes (MQTT 5.0, section 2.4), with the return codes of CONNACK in 3.1.1 (section 3.2.2.3).

// Granted QoS 1 and 2 are no reasons: SUBACK carries a QoS there. A broker of MQTT 3 that answers CONNECT with its own
// return code 1 or 2 must not be taken for one that grants anything.

/// Each code with its name, its number on the wire, and what a client says of a broker that sends it.
macro_rules! reason_codes {
    ($($name:ident = $code:literal, $words:literal;)+) => {
        /// Why something was refused or ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum ReasonCode {
            $($name = $code,)+
        }

        impl ReasonCode {
            /// The code of a byte from the wire; `None` where the protocol knows none.
            pub(crate) fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($code => Some(ReasonCode::$name),)+
                    _ => None,
                }
            }

            /// What a client says of a broker that sends it.
            pub(crate) fn in_words(self) -> &'static str {
                match self {
                    $(ReasonCode::$name => $words,)+
                }
            }
        }
    };
}

reason_codes! {
    Success = 0x00, "success";
    DisconnectWithWill = 0x04, "disconnect with will";
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    NoSubscriptionExisted = 0x11, "no subscription existed";
    UnspecifiedError = 0x80, "unspecified error";
    MalformedPacket = 0x81, "malformed packet";
    ProtocolError = 0x82, "protocol error";
    ImplementationSpecificError = 0x83, "implementation specific error";
    UnsupportedProtocolVersion = 0x84, "the broker does not speak MQTT 5; try protocol 3.1.1";
    ClientIdentifierNotValid = 0x85, "the broker refuses the client id";
    BadUserNameOrPassword = 0x86, "wrong user name or password";
    NotAuthorized = 0x87, "not authorized";
    ServerUnavailable = 0x88, "the broker is unavailable";
    ServerBusy = 0x89, "the broker is busy";
    Banned = 0x8a, "banned by the broker";
    ServerShuttingDown = 0x8b, "the broker is shutting down";
    BadAuthenticationMethod = 0x8c, "bad authentication method";
    KeepAliveTimeout = 0x8d, "the broker heard nothing within the keep-alive time";
    SessionTakenOver = 0x8e, "another client took the session over with the same client id";
    TopicFilterInvalid = 0x8f, "topic filter invalid";
    TopicNameInvalid = 0x90, "topic name invalid";
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    TopicAliasInvalid = 0x94, "topic alias invalid";
    PacketTooLarge = 0x95, "packet too large";
    MessageRateTooHigh = 0x96, "message rate too high";
    QuotaExceeded = 0x97, "quota exceeded";
    AdministrativeAction = 0x98, "administrative action";
    PayloadFormatInvalid = 0x99, "payload format invalid";
    RetainNotSupported = 0x9a, "the broker does not support retained messages";
    QosNotSupported = 0x9b, "the broker does not support this QoS";
    UseAnotherServer = 0x9c, "the broker asks to use another server";
    ServerMoved = 0x9d, "the broker has moved";
    SharedSubscriptionsNotSupported = 0x9e, "the broker does not support shared subscriptions";
    ConnectionRateExceeded = 0x9f, "connection rate exceeded";
    MaximumConnectTime = 0xa0, "the broker's maximum connect time is over";
    SubscriptionIdentifiersNotSupported = 0xa1, "the broker does not support subscription identifiers";
    WildcardSubscriptionsNotSupported = 0xa2, "the broker does not support wildcard subscriptions";
}

impl ReasonCode {
    /// The code that CONNACK carries in MQTT 3.1 and 3.1.1; `None` where the connection is closed without one.
    pub(crate) fn return_code(self) -> Option<u8> {
        match self {
            ReasonCode::Success => Some(0),
            ReasonCode::UnsupportedProtocolVersion => Some(1),
            ReasonCode::ClientIdentifierNotValid => Some(2),
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::QuotaExceeded
            | ReasonCode::ServerShuttingDown => Some(3),
            ReasonCode::BadUserNameOrPassword => Some(4),
            ReasonCode::NotAuthorized => Some(5),
            _ => None,
        }
    }
}

/// What a client says of a CONNACK with this return code (MQTT 3.1.1).
pub(crate) fn return_code_in_words(code: u8) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_code_of_mqtt_3_is_no_reason_code() {
        for code in [1, 2, 3, 5] {
            assert_eq!(ReasonCode::from_byte(code), None, "{code}");
        }
        assert_eq!(ReasonCode::from_byte(0x8e), Some(ReasonCode::SessionTakenOver));
        assert_eq!(ReasonCode::from_byte(0xff), None);
    }
}
