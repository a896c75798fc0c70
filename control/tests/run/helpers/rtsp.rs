//! RTSP by ffmpeg, which records what another ffmpeg plays to it over RTP, through masquerade and to a recorder behind the box.

use std::fs;
use std::process::{Command, Stdio};

use crate::cores;
use crate::namespaces::{Host, Namespace};
use crate::site::{FAMILIES, NAT, POLICY, Plan, Site};

/// Sound of two seconds as samples, which RTP carries as they are.
const FORMAT: &str = "-f s16be";
const SAMPLES_BYTES: usize = 32_000;

fn ffmpeg(at: Namespace<'_>, arguments: &str) -> Command {
    at.command("ffmpeg", &format!("-nostdin -v error -y {arguments}"))
}

/// Records into a file whatever is played to it, until that ends.
fn record(at: Namespace<'_>, address: &str, file: &str) -> Host {
    let arguments = format!("-rtsp_flags listen -i rtsp://{address}:554/sound -c copy {FORMAT} {file}");
    at.serve_by(554, ffmpeg(at, &arguments))
}

/// Plays a file to a recorder, as fast as it sounds: none of it may be lost.
fn play(at: Namespace<'_>, address: &str, file: &str) {
    let input = format!("-re {FORMAT} -ar 8000 -ac 1 -i {file}");
    let arguments = format!("{input} -c copy -f rtsp -rtsp_transport udp rtsp://{address}:554/sound");
    let played = ffmpeg(at, &arguments).stdout(Stdio::null()).output().unwrap();
    assert!(played.status.success(), "{address}: {}", String::from_utf8_lossy(&played.stderr));
}

#[test]
fn rtsp_passes_both_ways() {
    for preset in ["classic", "linux"] {
        let test = format!("rtsp-{preset}");
        let Some(site) = cores::are_there().then(|| Site::new(&test, preset)).flatten() else { return };
        site.reload(&format!("{NAT}{POLICY}\nhelpers: {{ rtsp: {{}} }}\n"));
        let samples: Vec<u8> = super::some_file().into_iter().take(SAMPLES_BYTES).collect();
        let file = |name: &str| site.daemon.path(name).display().to_string();
        fs::write(file("played"), &samples).unwrap();
        let Plan { client, server, public, .. } = &FAMILIES[0];
        for (from, to, at, called) in
            [(site.client(), site.server(), server, server), (site.server(), site.client(), client, public)]
        {
            let mut recorder = record(to, at, &file("recorded"));
            play(from, called, &file("played"));
            assert!(recorder.0.wait().unwrap().success());
            assert!(fs::read(file("recorded")).unwrap() == samples, "{called}: other samples came");
        }
        // Of both ends RTP and RTCP, in both ways.
        let helpers: serde_json::Value = serde_json::from_str(&site.daemon.tell("helpers --json")).unwrap();
        let events = &helpers["helpers"][0]["events"];
        assert_eq!(events["expected"], 4, "{helpers}");
        assert!(events["met"].as_u64() >= Some(2), "{helpers}");
        assert_eq!(site.drops(), [""; 0]);
    }
}
