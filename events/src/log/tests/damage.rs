// SPDX-License-Identifier: Apache-2.0
//! Files that were cut, changed, or could not be written.

use proptest::prelude::*;

use super::*;

/// A folder with events in one file, and how long the file was after each.
fn written(count: usize) -> (TempDir, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, Settings::default());
    let mut ends = vec![0];
    for number in 0..count {
        log.append(&[ended(number)], at(0)).unwrap();
        ends.push(fs::metadata(&files(&dir)[0]).unwrap().len());
    }
    (dir, ends)
}

/// Appending goes on behind `kept` events, and all of it is read, now and after another start.
fn goes_on_behind(dir: &TempDir, kept: usize, case: &str) {
    let expected: Vec<String> =
        (0..kept).map(|n| format!("c{n}")).chain(["c100".to_owned(), "c101".to_owned()]).collect();
    let log = open(dir, Settings::default());
    assert_eq!(log.end().borrow().0, kept as u64, "{case}");
    log.append(&[ended(100)], at(1)).unwrap();
    log.append(&[ended(101)], at(1)).unwrap();
    assert_eq!(channels(&read_all(&log).0), expected, "{case}");
    drop(log);
    let (records, lost) = read_all(&open(dir, Settings::default()));
    assert_eq!((channels(&records), lost.len()), (expected, 0), "{case}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_what_was_before_it_stays() {
    let (dir, ends) = written(4);
    let whole = fs::read(&files(&dir)[0]).unwrap();
    for cut in ends[1]..=ends[4] {
        let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
        fs::write(&files(&dir)[0], &whole[..usize::try_from(cut).unwrap()]).unwrap();
        goes_on_behind(&dir, kept, &format!("cut at {cut}"));
    }
}

#[test]
fn garbage_behind_the_last_record_is_cut_whatever_it_looks_like() {
    let (dir, _) = written(2);
    let whole = fs::read(&files(&dir)[0]).unwrap();
    let half = whole.len() / 2;
    for garbage in [&[0; 5_000][..], b"\xf5hw\xf6", b"\xf5hw\xf6\xff\xff\xff\xff", &whole[..half], &whole, &whole[1..]]
    {
        fs::write(&files(&dir)[0], [&whole, garbage].concat()).unwrap();
        goes_on_behind(&dir, 2, &format!("{} bytes of garbage", garbage.len()));
    }
}

#[test]
fn damage_in_an_older_file_costs_what_it_hits_and_readers_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, settings());
    for number in 0..100 {
        log.append(&[ended(number)], at(0)).unwrap();
    }
    let (before, _) = read_all(&log);
    drop(log);
    let hit = &files(&dir)[2];
    let first: u64 = hit.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut bytes = fs::read(hit).unwrap();
    let second = bytes.windows(4).enumerate().filter(|(_, w)| w == b"\xf5hw\xf6").nth(1).unwrap().0;
    bytes[second + 60] ^= 1;
    fs::write(hit, bytes).unwrap();
    let log = open(&dir, settings());
    let (after, lost) = read_all(&log);
    assert_eq!(lost, [Lost { wanted: Offset(first + 1), first: Offset(first + 2) }]);
    let expected: Vec<String> =
        channels(&before).into_iter().enumerate().filter(|(n, _)| *n as u64 != first + 1).map(|(_, c)| c).collect();
    assert_eq!(channels(&after), expected);
    let damaged = log.metrics().damaged_bytes.get();
    assert!(damaged > 100, "{damaged}");
    read_all(&log);
    assert_eq!(log.metrics().damaged_bytes.get(), damaged, "it is counted once");
}

#[test]
fn a_file_that_is_gone_or_empty_is_told_as_lost() {
    for removed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir, settings());
        for number in 0..100 {
            log.append(&[ended(number)], at(0)).unwrap();
        }
        drop(log);
        let hit = &files(&dir)[1];
        if removed {
            fs::remove_file(hit).unwrap()
        } else {
            fs::write(hit, b"").unwrap()
        }
        let (records, lost) = read_all(&open(&dir, settings()));
        assert_eq!(lost.len(), 1);
        assert_eq!(records.len() as u64, 100 - (lost[0].first.0 - lost[0].wanted.0));
    }
}

#[test]
fn a_write_that_fails_adds_nothing_and_the_next_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, Settings::default());
    log.append(&[ended(0)], at(0)).unwrap();
    let path = files(&dir)[0].clone();
    let whole = fs::metadata(&path).unwrap().len();
    log.fail(true);
    let error = log.append(&[ended(1)], at(0)).unwrap_err();
    assert!(error.is_retryable() && error.to_string().starts_with("expected to write the log in "), "{error}");
    assert_eq!((log.end().borrow().0, log.metrics().write_errors.get()), (1, 1));
    assert_eq!(channels(&read_all(&log).0), ["c0"]);
    assert!(fs::metadata(&path).unwrap().len() > whole, "half a record is there");
    log.fail(false);
    log.append(
        &[event(Data::ChannelEnded(crate::event::ChannelEnded { channel: "x".into(), reason: String::new() }))],
        at(0),
    )
    .unwrap();
    drop(log);
    let log = open(&dir, Settings::default());
    assert_eq!(channels(&read_all(&log).0), ["c0", "x"]);
    assert_eq!(log.metrics().damaged_bytes.get(), 0, "nothing of it was left");
}

#[test]
fn events_that_must_be_on_the_disk_are_read_like_others() {
    for sync in [Sync::Always, Sync::Second] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir, Settings { sync, ..settings() });
        for number in 0..60 {
            log.append(&[ended(number)], at(0)).unwrap();
            log.tick(at(0));
        }
        log.close();
        drop(log);
        assert_eq!(read_all(&open(&dir, settings())).0.len(), 60);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_bytes_change_all_others_records_are_read(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..6),
    ) {
        let (dir, ends) = written(12);
        let path = files(&dir)[0].clone();
        let mut bytes = fs::read(&path).unwrap();
        let mut hit = std::collections::BTreeSet::new();
        for (index, flip) in flips {
            let place = index.index(bytes.len());
            bytes[place] ^= flip;
            hit.insert(ends.iter().filter(|end| **end <= place as u64).count() - 1);
        }
        fs::write(&path, bytes).unwrap();
        let log = open(&dir, Settings::default());
        log.append(&[ended(100)], at(0)).unwrap();
        let left: Vec<String> = channels(&read_all(&log).0);
        for number in (0..12).filter(|number| !hit.contains(number)) {
            prop_assert!(left.contains(&format!("c{number}")), "c{number} of {left:?}, hit {hit:?}");
        }
        prop_assert_eq!(left.last().map(String::as_str), Some("c100"));
    }

    #[test]
    fn no_file_of_any_bytes_harms(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("00000000000000000000.log"), &bytes).unwrap();
        fs::write(dir.path().join("00000000000000000005.thinned"), &bytes).unwrap();
        fs::write(dir.path().join("00000000000000000009.log"), &bytes).unwrap();
        let log = open(&dir, Settings::default());
        log.append(&[ended(1)], at(0)).unwrap();
        prop_assert_eq!(channels(&read_all(&log).0), ["c1"]);
    }
}
