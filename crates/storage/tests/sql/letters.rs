//! Dead letters.

use bytes::Bytes;
use hearthgate_domain::flow::{ActionKind, PromisedActions};
use hearthgate_storage::dead_letters::{
    DeadLetterFilter, DeadLetterOptions, DeadLetters, DroppedLetters, InsertOutcome, NewDeadLetter, ParkedMessage,
    UNDO_TIME,
};
use std::time::Duration;
use uuid::Uuid;

const JOURNAL: Uuid = Uuid::from_u128(7);

fn letter(seq: u64, flow: Option<&str>) -> NewDeadLetter {
    NewDeadLetter {
        journal: JOURNAL,
        seq: Some(seq),
        flow_code: flow.map(Into::into),
        topic: format!("sensors/{}", seq % 2),
        payload: Bytes::from_static(b"\xff not json"),
        reason: "the payload is not UTF-8".into(),
        pointer: Some("/temperature".into()),
        received_at: 1_000 + i64::try_from(seq).unwrap(),
        dead_at: 2_000,
        attempts: 3,
        part: None,
    }
}

async fn open(folder: &tempfile::TempDir, max_letters: u64, max_bytes: u64) -> DeadLetters {
    let path = folder.path().join("state/dead_letters.sqlite");
    DeadLetters::open(&DeadLetterOptions { path, max_letters, max_bytes, max_age: None }).await.unwrap()
}

#[tokio::test]
async fn a_letter_is_kept_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 100, 1 << 20).await;
    letters.insert_batch(&[letter(1, Some("a")), letter(1, None)]).await.unwrap();
    letters.close().await;
    let letters = open(&folder, 100, 1 << 20).await;
    let listed = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|one| one.letter.clone()).collect::<Vec<_>>(),
        [letter(1, None), letter(1, Some("a"))]
    );
    assert_eq!(letters.get(listed[1].id).await.unwrap().as_ref(), Some(&listed[1]));
    assert_eq!(letters.get(99).await.unwrap(), None);
}

#[tokio::test]
async fn a_letter_that_comes_again_is_not_a_second_one() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 100, 1 << 20).await;
    let batch = [letter(1, Some("a")), letter(1, Some("b")), letter(1, None), letter(2, None)];
    assert_eq!(letters.insert_batch(&batch).await.unwrap(), InsertOutcome { new: 4, repeated: 0, evicted: 0 });
    assert_eq!(letters.insert_batch(&batch).await.unwrap(), InsertOutcome { new: 0, repeated: 4, evicted: 0 });
    let other_journal = NewDeadLetter { journal: Uuid::from_u128(8), ..letter(1, None) };
    let without_seq = NewDeadLetter { seq: None, ..letter(1, None) };
    let batch = [other_journal, without_seq.clone(), without_seq];
    assert_eq!(letters.insert_batch(&batch).await.unwrap(), InsertOutcome { new: 3, repeated: 0, evicted: 0 });
    assert_eq!(letters.totals().await.unwrap().letters, 7);
}

#[tokio::test]
async fn pages_go_from_new_to_old_without_repeating() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 1_000, 1 << 20).await;
    letters.insert_batch(&(0..25).map(|seq| letter(seq, None)).collect::<Vec<_>>()).await.unwrap();
    let (mut filter, mut seen) =
        (DeadLetterFilter { topic: Some("sensors/0".into()), ..Default::default() }, Vec::new());
    loop {
        let page = letters.list(&filter, 4).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        seen.extend(page.iter().map(|one| one.letter.seq.unwrap()));
    }
    assert_eq!(seen, (0..25).rev().filter(|seq| seq % 2 == 0).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_shows_the_start_of_a_long_payload() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 10 << 20).await;
    let long = NewDeadLetter { payload: vec![7; 5 << 20].into(), ..letter(1, None) };
    letters.insert_batch(std::slice::from_ref(&long)).await.unwrap();
    let listed = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!((listed[0].letter.payload.len(), listed[0].payload_len), (256, 5 << 20));
    assert_eq!(letters.get(listed[0].id).await.unwrap().unwrap().letter, long);
}

#[tokio::test]
async fn of_many_who_would_replay_a_letter_at_once_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 4, 1 << 20).await;
    letters.insert_batch(&[letter(1, None)]).await.unwrap();
    let id = letters.list(&DeadLetterFilter::default(), 10).await.unwrap()[0].id;
    let claim = |at| letters.claim_replay(id, None, at, 0);
    let claims = tokio::join!(claim(1), claim(2), claim(3), claim(4));
    let claims: [Result<bool, _>; 4] = claims.into();
    assert_eq!(claims.into_iter().filter(|claim| *claim.as_ref().unwrap()).count(), 1);
    let seen = letters.get(id).await.unwrap().unwrap().replayed_at;
    assert!(!letters.claim_replay(id, None, 100, 0).await.unwrap(), "who saw it before must look again");
    assert!(letters.claim_replay(id, seen, 100, 0).await.unwrap());
    assert!(!letters.claim_replay(id + 1, None, 100, 0).await.unwrap());
}

#[tokio::test]
async fn replayed_letters_are_marked_and_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 4, 1 << 20).await;
    letters.insert_batch(&(0..4).map(|seq| letter(seq, None)).collect::<Vec<_>>()).await.unwrap();
    let id_of = async |seq| {
        let all = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
        all.iter().find(|one| one.letter.seq == Some(seq)).unwrap().id
    };
    let replayed = id_of(2).await;
    assert_eq!(letters.mark_replayed(&[replayed, 999], Some(5)).await.unwrap(), 1);
    let marked = letters.list(&DeadLetterFilter { replayed: Some(true), ..Default::default() }, 10).await.unwrap();
    assert_eq!((marked.len(), marked[0].replayed_at), (1, Some(5)));
    assert_eq!(letters.insert_batch(&[letter(4, None)]).await.unwrap().evicted, 1);
    assert_eq!(letters.totals().await.unwrap().evicted, 0, "a replayed letter that goes is no loss");
    assert_eq!(letters.insert_batch(&[letter(5, None)]).await.unwrap().evicted, 1);
    assert_eq!(letters.totals().await.unwrap().evicted, 1);
    let left: Vec<_> = letters
        .list(&DeadLetterFilter::default(), 10)
        .await
        .unwrap()
        .iter()
        .map(|one| one.letter.seq.unwrap())
        .collect();
    assert_eq!(left, [5, 4, 3, 1]);
}

#[tokio::test]
async fn the_oldest_make_room_by_count_and_by_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 1 << 20).await;
    for start in [0, 8] {
        letters.insert_batch(&(start..start + 8).map(|seq| letter(seq, None)).collect::<Vec<_>>()).await.unwrap();
    }
    let totals = letters.totals().await.unwrap();
    assert_eq!((totals.letters, totals.evicted), (10, 6));
    let big = |seq| NewDeadLetter { payload: vec![0; 400 << 10].into(), ..letter(seq, None) };
    letters.insert_batch(&[big(20), big(21), big(22)]).await.unwrap();
    let totals = letters.totals().await.unwrap();
    assert_eq!(totals.letters, 2);
    assert!(totals.bytes <= 1 << 20, "{totals:?}");
    let huge = NewDeadLetter { payload: vec![0; 3 << 20].into(), ..letter(30, None) };
    letters.insert_batch(&[huge]).await.unwrap();
    assert_eq!(letters.totals().await.unwrap().letters, 1, "the newest is kept even when it alone is too large");
}

#[tokio::test]
async fn letters_beyond_their_age_go_when_new_ones_come() {
    let folder = tempfile::tempdir().unwrap();
    let options = DeadLetterOptions {
        max_age: Some(Duration::from_micros(500)),
        ..DeadLetterOptions::new(folder.path().join("letters.db"))
    };
    let letters = DeadLetters::open(&options).await.unwrap();
    letters.insert_batch(&[letter(1, None), NewDeadLetter { dead_at: 2_400, ..letter(2, None) }]).await.unwrap();
    let inserted = letters.insert_batch(&[NewDeadLetter { dead_at: 2_501, ..letter(3, None) }]).await.unwrap();
    assert_eq!(inserted.evicted, 1);
    let left = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.letter.seq.unwrap()).collect::<Vec<_>>(), [3, 2]);
}

#[tokio::test]
async fn each_part_of_a_flow_that_fails_has_a_letter_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 1 << 20).await;
    let part = |part| NewDeadLetter { part: Some(part), ..letter(1, Some("a")) };
    let batch = [part(ActionKind::Store), part(ActionKind::Post), part(ActionKind::Publish)];
    assert_eq!(letters.insert_batch(&batch).await.unwrap().new, 3);
    assert_eq!(letters.insert_batch(&batch).await.unwrap().repeated, 3);
    let listed = letters.list(&DeadLetterFilter::default(), 10).await.unwrap();
    assert_eq!(listed.iter().rev().map(|one| one.letter.clone()).collect::<Vec<_>>(), batch);
}

#[tokio::test]
async fn dropped_letters_are_gone_and_not_counted_as_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 1 << 20).await;
    letters.insert_batch(&[letter(1, Some("a")), letter(2, Some("b"))]).await.unwrap();
    let of_a = letters.list(&DeadLetterFilter { flow_code: Some("a".into()), ..Default::default() }, 10).await.unwrap();
    assert_eq!(letters.drop_letters(&[of_a[0].id, 77], 0).await.unwrap(), 1);
    let totals = letters.totals().await.unwrap();
    assert_eq!((totals.letters, totals.evicted), (1, 0));
    letters.drop_letters(&[of_a[0].id + 1], 0).await.unwrap();
    assert_eq!(letters.totals().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn dropped_letters_come_back_whole_until_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 1 << 20).await;
    letters.insert_batch(&[letter(1, Some("a")), letter(2, Some("b"))]).await.unwrap();
    let before = (letters.list(&DeadLetterFilter::default(), 10).await.unwrap(), letters.totals().await.unwrap());
    let ids: Vec<i64> = before.0.iter().map(|letter| letter.id).collect();
    let undo_time = i64::try_from(UNDO_TIME.as_micros()).unwrap();
    letters.drop_letters(&ids[..1], 1_000).await.unwrap();
    letters.drop_letters(&ids[1..], 2_000).await.unwrap();
    let dropped = letters.dropped(3_000).await.unwrap();
    assert_eq!((dropped.letters, dropped.last_at), (2, Some(2_000)));
    letters.close().await;
    let letters = open(&folder, 10, 1 << 20).await;
    assert_eq!(letters.restore_dropped(3_000).await.unwrap(), 2);
    let after = (letters.list(&DeadLetterFilter::default(), 10).await.unwrap(), letters.totals().await.unwrap());
    assert_eq!(before, after);
    assert_eq!(letters.restore_dropped(3_000).await.unwrap(), 0);

    letters.drop_letters(&ids[..1], 1_000).await.unwrap();
    letters.drop_letters(&ids[1..], 2_000).await.unwrap();
    assert_eq!(letters.dropped(1_500 + undo_time).await.unwrap().letters, 1);
    assert_eq!(letters.restore_dropped(1_500 + undo_time).await.unwrap(), 1);
    assert_eq!(letters.dropped(1_500 + undo_time).await.unwrap(), DroppedLetters::default());
}

#[tokio::test]
async fn dropped_letters_are_bounded_in_bytes_as_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 10, 700).await;
    for (seq, at) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
        letters.insert_batch(&[letter(seq, Some("a"))]).await.unwrap();
        let newest = letters.list(&DeadLetterFilter::default(), 1).await.unwrap()[0].id;
        letters.drop_letters(&[newest], at).await.unwrap();
    }
    assert!(letters.dropped(4_000).await.unwrap().letters < 3);
}

#[tokio::test]
async fn what_is_set_aside_comes_back_in_order_and_is_no_letter() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 100, 1 << 20).await;
    let message = |seq: u64| ParkedMessage {
        seq,
        journal: JOURNAL,
        topic: "t".into(),
        payload: Bytes::from(vec![0xff; 10]),
        received_at: 5,
        part: (seq == 4).then_some(ActionKind::Post),
        promise: PromisedActions::of([ActionKind::Publish]),
    };
    letters.park(7, &[message(2), message(4)]).await.unwrap();
    letters.park(7, &[message(4), message(9)]).await.unwrap();
    letters.park(8, &[message(3)]).await.unwrap();
    letters.close().await;
    let letters = open(&folder, 100, 1 << 20).await;
    assert_eq!(letters.parked(7, 0, 2, 1 << 20).await.unwrap(), [message(2), message(4)]);
    assert_eq!(letters.parked(7, 4, 2, 1 << 20).await.unwrap(), [message(9)]);
    assert_eq!(letters.parked(7, 0, 3, message(2).size() + 1).await.unwrap(), [message(2), message(4)]);
    assert_eq!(letters.parked(7, 0, 3, 1).await.unwrap(), [message(2)]);
    let flows = letters.parked_flows().await.unwrap();
    let found: Vec<_> = flows.iter().map(|flow| (flow.flow_id, flow.first, flow.last, flow.bytes)).collect();
    assert_eq!(found, [(7, 2, 9, 3 * message(1).size()), (8, 3, 3, message(1).size())]);
    assert_eq!(letters.unpark(7, 4).await.unwrap(), 2 * message(1).size());
    letters.remove_parked(8, &[3]).await.unwrap();
    assert_eq!(letters.parked_flows().await.unwrap().len(), 1);
    assert_eq!(letters.totals().await.unwrap().letters, 0);
}

#[tokio::test]
async fn a_replay_whose_end_a_crash_has_hidden_is_known_until_it_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let letters = open(&folder, 4, 1 << 20).await;
    letters.insert_batch(&[letter(1, None), letter(2, None)]).await.unwrap();
    assert!(letters.claim_replay(1, None, 50, 7).await.unwrap());
    assert!(letters.claim_replay(2, None, 60, 8).await.unwrap());
    letters.settle_claim(2, true).await.unwrap();
    letters.close().await;
    let letters = open(&folder, 4, 1 << 20).await;
    let open = letters.open_claims().await.unwrap();
    assert_eq!(open.iter().map(|claim| (claim.id, claim.after)).collect::<Vec<_>>(), [(1, 7)]);
    letters.settle_claim(1, false).await.unwrap();
    assert!(letters.open_claims().await.unwrap().is_empty());
    letters.settle_claim(2, false).await.unwrap();
    let replayed = async |id| letters.get(id).await.unwrap().unwrap().replayed_at;
    assert_eq!((replayed(1).await, replayed(2).await), (None, Some(60)));
}
