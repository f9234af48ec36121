use crate::support::start;

#[tokio::test]
async fn the_dummy_logs_what_it_receives_and_sends_its_message_again_and_again() {
    let mut dummy = start("kind = \"dummy\"\nperiod = \"20ms\"");
    dummy.online().await;
    for _ in 0..3 {
        let message = dummy.emitted().await;
        assert!(message.iscmd);
        assert_eq!((message.function.as_str(), message.location.as_str()), ("DummyFunction", "Office"));
        assert_eq!(message.action, "MUTE_ON");
    }
    dummy.command_with("POWER_ON", &[("level", "3\n4")]).await;
    dummy.logged("received command sender=phone action=POWER_ON level=\"3\\n4\"").await;
    dummy.stop().await.unwrap();
}

#[tokio::test]
async fn a_driver_stops_when_nobody_can_send_it_commands_any_more() {
    let mut dummy = start("kind = \"dummy\"");
    dummy.online().await;
    dummy.commands = hearthgate_interfaces::CommandQueue::new(1).0;
    dummy.ended().await.unwrap();
}
