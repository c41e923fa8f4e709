//! transactionID and messageType of odd types and lengths: refused, or echoed as they came.

use intune_connector::event::EventId;

use crate::forge::{Sealed, elements, key_trans, message_with, reply_to, wrap};
use crate::make::tlv;
use crate::scep_lab::{Client, shared_key};
use crate::watched::{GRANTED, LARGEST, REFUSED, Watched, outcome};

#[test]
fn over_read_transaction_ids_are_echoed_octet_by_octet_or_no_request() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let client = Client::new(shared_key(2), "CN=device", "x");
    let long = vec![b'A'; 255];
    let echoed: Vec<Vec<u8>> = vec![
        tlv(0x13, &[b"A"]),
        tlv(0x13, &[&long]),
        tlv(0x0c, &["\u{fc}\u{1f4a9}".as_bytes()]),
        tlv(0x16, &[b"a\0b"]),
        tlv(0x13, &[b"a\0"]),
        tlv(0x13, &[&[0]]),
        tlv(0x13, &[&[0xff, 0xfe, 0x80]]),
        tlv(0x0c, &[&[0xc3, 0x28]]),
        tlv(0x14, &[b"\r\n\x1b[31m"]),
        tlv(0x13, &[b"' OR 1=1; --"]),
    ];
    let refused: Vec<Vec<u8>> = vec![
        tlv(0x13, &[]),
        tlv(0x13, &[&long, b"A"]),
        tlv(0x13, &[&vec![b'A'; 60_000]]),
        tlv(4, &[b"abc"]),
        tlv(2, &[&[19]]),
        tlv(3, &[&[0, 1]]),
        tlv(0x1e, &[&[0, b'a']]),
        tlv(0x1c, &[&[0, 0, 0, b'a']]),
        tlv(0x12, &[b"123"]),
        tlv(0x30, &[&tlv(0x13, &[b"abc"])]),
        tlv(0x93, &[b"abc"]),
        vec![5, 0],
        vec![],
        // Lengths that say more than there is, and less.
        vec![0x13, 5, b'a'],
        vec![0x13, 0x7f, b'a'],
        vec![0x13, 0x81],
        vec![0x13, 0x84, 0xff, 0xff, 0xff, 0xff, b'a'],
        vec![0x13, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'a'],
        vec![0x13, 0x80, b'a'],
        vec![0x13, 1, b'a', b'b'],
        [tlv(0x13, &[b"a"]), tlv(0x13, &[b"b"])].concat(),
    ];
    let sealed = Sealed::new(&client.csr);
    let envelope = sealed.envelope(&[key_trans(&ra, &wrap(&ra, &sealed.key))]);
    for transaction in &echoed {
        let (message, nonce) = message_with(&client, &tlv(0x13, &[b"19"]), transaction, &envelope);
        let response = watched.post(&message);
        let reply = client.reply(&response, &reply_to(transaction, nonce).unwrap(), &ra);
        assert_eq!(outcome(&reply), GRANTED, "{transaction:02x?}");
        assert!(response.body.windows(transaction.len()).any(|window| window == transaction), "{transaction:02x?}");
    }
    let told: Vec<Vec<u8>> = watched.lab.notifier.successes.lock().unwrap().iter().map(|told| told.0.as_bytes().to_vec()).collect();
    let sent: Vec<Vec<u8>> = echoed.iter().map(|transaction| elements(transaction)[0].1.clone()).collect();
    assert_eq!(told, sent, "to the service as well");
    for event in watched.lab.sink.events() {
        assert!(event.key.scope.bytes().all(|octet| (0x20..0x7f).contains(&octet)), "{:?}", event.key.scope);
    }
    let before = (watched.unwraps(), watched.asked());
    for transaction in &refused {
        let (message, _) = message_with(&client, &tlv(0x13, &[b"19"]), transaction, &envelope);
        let response = watched.post(&message);
        // One over the limit for messages is not even read.
        let expected = if message.len() > LARGEST { 413 } else { 400 };
        assert_eq!(response.status, expected, "{:02x?}", &transaction[..transaction.len().min(40)]);
    }
    assert_eq!((watched.unwraps(), watched.asked()), before);
}

#[test]
fn over_read_message_types_of_odd_tags_and_lengths_are_refused() {
    let watched = Watched::new(|builder| builder);
    let ra = watched.lab.ra.clone();
    let client = Client::new(shared_key(2), "CN=device", "x");
    let sealed = Sealed::new(&client.csr);
    let envelope = sealed.envelope(&[key_trans(&ra, &wrap(&ra, &sealed.key))]);
    for (number, message_type) in [
        tlv(2, &[&[19]]),
        tlv(4, &[b"19"]),
        tlv(0x0a, &[&[19]]),
        tlv(0x1e, &[&[0, b'1', 0, b'9']]),
        tlv(0x13, &[]),
        tlv(0x13, &[&[b'1'; 256]]),
        tlv(0x13, &[&[b'9'; 20_000]]),
        tlv(0x13, &[b"19\0"]),
        tlv(0x13, &[b"\x0019"]),
        tlv(0x13, &[&[0x13]]),
        vec![0x13, 3, b'1', b'9'],
        vec![0x13, 0x84, 0x7f, 0xff, 0xff, 0xff, b'1', b'9'],
        vec![0x13, 1, b'1', b'9'],
        vec![],
        [tlv(0x13, &[b"19"]), tlv(0x13, &[b"19"])].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let transaction = tlv(0x13, &[format!("type-{number}").as_bytes()]);
        let (message, nonce) = message_with(&client, &message_type, &transaction, &envelope);
        let response = watched.post(&message);
        if response.status == 200 {
            let reply = client.reply(&response, &reply_to(&transaction, nonce).unwrap(), &ra);
            assert_eq!(outcome(&reply), REFUSED, "{message_type:02x?}");
        } else {
            assert_eq!(response.status, 400, "{message_type:02x?}");
        }
    }
    assert_eq!((watched.unwraps(), watched.asked()), (0, (0, 0)));
    assert!(watched.lab.sink.count(EventId::MalformedRequest) > 5);
    // The control.
    let transaction = tlv(0x13, &[b"good"]);
    let (message, nonce) = message_with(&client, &tlv(0x16, &[b"19"]), &transaction, &envelope);
    assert_eq!(outcome(&client.reply(&watched.post(&message), &reply_to(&transaction, nonce).unwrap(), &ra)), GRANTED);
}
