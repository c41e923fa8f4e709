//! The 61 documented events, held against the golden table.

use intune_connector::event::EventId;

#[test]
fn the_documented_events_are_exactly_those_of_the_golden_table() {
    let golden = include_str!("golden/events.tsv");
    let mut rows = golden.lines().skip(1);
    let mut count = 0;
    for id in EventId::ALL.iter().filter(|id| id.is_documented()) {
        let row = rows.next().expect("the golden table has a row for each documented event");
        let ours = format!(
            "{}\t{}\t{:?}\t{}\t{}",
            id.code(),
            id.name(),
            id.channel(),
            id.task_category().as_str(),
            format!("{:?}", id.unit()).to_lowercase()
        );
        assert_eq!(ours, row);
        assert_eq!(EventId::from_code(id.code()), Some(*id));
        count += 1;
    }
    assert_eq!((count, rows.next()), (61, None));
}

#[test]
fn own_events_stay_in_1_to_999() {
    let own: Vec<u16> = EventId::ALL.iter().filter(|id| !id.is_documented()).map(|id| id.code()).collect();
    assert!(!own.is_empty() && own.iter().all(|code| (1..1000).contains(code)));
    assert!(own.is_sorted());
}
