//! Captures that are damaged, files that are none, and command lines that make no sense.

use super::scratch::{OPEN, Packet, S, START, Scratch, pcap, udp};

fn packets(count: u16) -> Vec<Packet> {
    (0..count).map(|place| (START + u64::from(place) * S, udp(place + 1, 50))).collect()
}

#[test]
fn what_comes_before_the_damage_is_replayed() {
    let whole = pcap(&packets(3));
    let record = (whole.len() - 24) / 3;
    let third = 24 + 2 * record;
    let mut absurd_length = whole.clone();
    absurd_length[third + 8..third + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let cases = [
        (whole[..third + 9].to_vec(), "the file ends within it"),
        (whole[..whole.len() - 1].to_vec(), "the file ends within it"),
        (absurd_length, "the file ends within it"),
    ];
    for (file, what) in cases {
        let scratch = Scratch::new(OPEN).input("inside", &file);
        let replayed = scratch.replay();
        replayed.adds_up(&packets(2), &[]);
        let said = format!("inside.capture: packet 3 is damaged: {what}");
        assert!(replayed.stderr.contains(&said), "{}", replayed.stderr);
    }
}

#[test]
fn a_packet_that_was_cut_is_dropped_as_truncated() {
    let mut file = pcap(&packets(2));
    // The original length of the first packet.
    file[24 + 12] += 1;
    let replayed = Scratch::new(OPEN).input("inside", &file).replay();
    replayed.adds_up(&packets(2), &[]);
    assert_eq!(replayed.report["drops"]["truncated"], 1);
    assert_eq!(replayed.traced("reason"), [Some("truncated"), None].map(serde_json::Value::from));
}

#[test]
fn an_empty_capture_is_a_capture() {
    let replayed = Scratch::new(OPEN).input("inside", &pcap(&[])).replay();
    replayed.adds_up(&[], &[]);
}

#[test]
fn a_file_that_is_no_capture_is_named() {
    let mut wireless = pcap(&packets(1));
    wireless[20] = 105;
    let cases: [(&[u8], &str); 4] = [
        (b"", "inside.capture: the file is empty"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "inside.capture: the file ends within its header"),
        (
            b"packets, packets, packets, packets",
            "inside.capture: this is no capture: neither pcap nor pcapng",
        ),
        (&wireless, "inside.capture: link type 105 is not known"),
    ];
    for (file, said) in cases {
        let stderr = Scratch::new(OPEN).input("inside", file).refused();
        assert!(stderr.starts_with("sluice: cannot read ") && stderr.contains(said), "{stderr}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let file = pcap(&packets(1));
    let inside = || Scratch::new(OPEN).input("inside", &file);
    let both = || inside().input("outside", &file);
    let cases = [
        (
            Scratch::new(OPEN).with("--in=inside=/nonexistent.pcap"),
            "cannot read /nonexistent.pcap: No such file",
        ),
        (Scratch::new(OPEN).with("--in=inside=/"), "cannot read /: "),
        (Scratch::new(OPEN).with("--in=aside=/dev/null"), "there is no interface `aside`"),
        (Scratch::new(OPEN).with("--in=aside=/dev/null"), "inside, outside"),
        (inside().input("inside", &file), "`inside` is given twice"),
        (inside().with("--client-side=aside"), "there is no interface `aside`"),
        (both().with("--client-side=inside"), "takes a single capture apart"),
    ];
    for (scratch, said) in cases {
        let stderr = scratch.refused();
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let scratch = Scratch::new(OPEN).input("inside", &pcap(&packets(1)));
    std::fs::write(scratch.path("out"), "").unwrap();
    let stderr = scratch.refused();
    assert!(stderr.contains(&format!("cannot write {}", scratch.path("out").display())), "{stderr}");

    std::fs::remove_file(scratch.path("out")).unwrap();
    std::fs::create_dir(scratch.path("report.json")).unwrap();
    let stderr = scratch.refused();
    assert!(stderr.contains("report.json: Is a directory"), "{stderr}");
}

#[test]
fn an_input_is_never_overwritten() {
    let scratch = Scratch::new(OPEN);
    std::fs::create_dir(scratch.path("out")).unwrap();
    let file = pcap(&packets(1));
    let input = scratch.path("out/outside.pcap");
    std::fs::write(&input, &file).unwrap();
    let scratch = scratch.with(format!("--in=inside={}", input.display()));
    assert!(scratch.refused().contains("it is one of the inputs"));
    assert_eq!(std::fs::read(&input).unwrap(), file);
}
