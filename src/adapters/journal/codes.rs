//! The numbers by which journals name kinds, flows and states. They never change: old files and tables must open.

use crate::ports::{RowKind, RowState};
use crate::terms::Flow;

pub(in crate::adapters::journal) const KINDS: [RowKind; 9] = [
    RowKind::Request,
    RowKind::ScepTransaction,
    RowKind::Notification,
    RowKind::Health,
    RowKind::CoolDown,
    RowKind::Orphan,
    RowKind::ScepTransactionId,
    RowKind::Revocation,
    RowKind::Instance,
];

pub(in crate::adapters::journal) const fn of_kind(kind: RowKind) -> i64 {
    match kind {
        RowKind::Request => 1,
        RowKind::ScepTransaction => 2,
        RowKind::Notification => 3,
        RowKind::Health => 4,
        RowKind::CoolDown => 5,
        RowKind::Orphan => 6,
        RowKind::ScepTransactionId => 7,
        RowKind::Revocation => 8,
        RowKind::Instance => 9,
    }
}

pub(in crate::adapters::journal) const fn kind(code: i64) -> Option<RowKind> {
    Some(match code {
        1 => RowKind::Request,
        2 => RowKind::ScepTransaction,
        3 => RowKind::Notification,
        4 => RowKind::Health,
        5 => RowKind::CoolDown,
        6 => RowKind::Orphan,
        7 => RowKind::ScepTransactionId,
        8 => RowKind::Revocation,
        9 => RowKind::Instance,
        _ => return None,
    })
}

pub(in crate::adapters::journal) const fn of_flow(flow: Flow) -> i64 {
    match flow {
        Flow::Pkcs => 1,
        Flow::PkcsRecrypt => 2,
        Flow::PkcsImport => 3,
        Flow::Revoke => 4,
        Flow::Scep => 5,
        Flow::Health => 6,
    }
}

pub(in crate::adapters::journal) const fn flow(code: i64) -> Option<Flow> {
    Some(match code {
        1 => Flow::Pkcs,
        2 => Flow::PkcsRecrypt,
        3 => Flow::PkcsImport,
        4 => Flow::Revoke,
        5 => Flow::Scep,
        6 => Flow::Health,
        _ => return None,
    })
}

pub(in crate::adapters::journal) const fn of_state(state: RowState) -> i64 {
    match state {
        RowState::Received => 1,
        RowState::Planned => 2,
        RowState::Asked => 3,
        RowState::Issued => 4,
        RowState::Packed => 5,
        RowState::Uploading => 6,
        RowState::Acknowledged => 7,
        RowState::Failed => 8,
        RowState::Parked => 9,
        RowState::OrphanSuspected => 10,
    }
}

pub(in crate::adapters::journal) const fn state(code: i64) -> Option<RowState> {
    Some(match code {
        1 => RowState::Received,
        2 => RowState::Planned,
        3 => RowState::Asked,
        4 => RowState::Issued,
        5 => RowState::Packed,
        6 => RowState::Uploading,
        7 => RowState::Acknowledged,
        8 => RowState::Failed,
        9 => RowState::Parked,
        10 => RowState::OrphanSuspected,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_one_value_and_no_other_code_names_any() {
        let mut known = (0, 0, 0);
        for code in -300..300 {
            if let Some(kind) = kind(code) {
                assert_eq!((of_kind(kind), KINDS.contains(&kind)), (code, true));
                known.0 += 1;
            }
            if let Some(flow) = flow(code) {
                assert_eq!(of_flow(flow), code);
                known.1 += 1;
            }
            if let Some(state) = state(code) {
                assert_eq!(of_state(state), code);
                known.2 += 1;
            }
        }
        assert_eq!(known, (KINDS.len(), 6, 10));
    }

    /// Numbers in files that exist: a change here would make another meaning of them.
    #[test]
    fn the_numbers_are_those_of_the_first_version() {
        assert_eq!(KINDS.map(of_kind), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(
            [Flow::Pkcs, Flow::PkcsRecrypt, Flow::PkcsImport, Flow::Revoke, Flow::Scep, Flow::Health].map(of_flow),
            [1, 2, 3, 4, 5, 6]
        );
        let states = [
            RowState::Received,
            RowState::Planned,
            RowState::Asked,
            RowState::Issued,
            RowState::Packed,
            RowState::Uploading,
            RowState::Acknowledged,
            RowState::Failed,
            RowState::Parked,
            RowState::OrphanSuspected,
        ];
        assert_eq!(states.map(of_state), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
