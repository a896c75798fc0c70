//! What a running daemon tells of connections, and who it tells.

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::box_under_test::{BoxUnderTest, FLOWS, sluice, text, wait_for, write_capture, write_config};
use crate::metrics::{scrape, value};
use crate::namespaces::Host;

/// Translates all of UDP, and exports to these.
fn config(export: &str) -> String {
    format!(
        "policy: {{ default: accept, rules: [{{ name: web, protocol: tcp, action: log }}] }}
nat: {{ source: [{{ protocol: udp, to: 203.0.113.10, ports: 2000-5999 }}] }}
export: {{ {export} }}
"
    )
}

/// Starts a daemon in this directory, with its state and its journal there, and waits until it has tracked its capture.
fn start(directory: tempfile::TempDir, export: &str) -> BoxUnderTest {
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), &config(export));
    let mut command = sluice();
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    let daemon = BoxUnderTest::spawn(directory, command);
    let all = (FLOWS + 3).to_string();
    wait_for("the capture to be tracked", || daemon.tell("conntrack -C").trim() == all);
    daemon
}

/// The port outside of the flow from port 7.
fn public_port(daemon: &BoxUnderTest) -> u64 {
    let line = daemon.tell("conntrack -L -p udp --sport 7 -o json");
    let entry: Value = serde_json::from_str(line.trim()).unwrap();
    entry["reply"]["dport"].as_u64().unwrap()
}

/// What the journal of a directory says without a daemon.
fn ask(directory: &Path, port: u64, time: &str) -> Value {
    let mut command = sluice();
    command.args(["nat", "who-owned", "--json", "--journal"]).arg(directory.join("journal"));
    let Output { status, stdout, stderr } =
        command.args([format!("203.0.113.10:{port}/udp"), format!("@{time}")]).output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

#[test]
fn the_journal_knows_who_had_a_port_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let journal = format!("journal: {{ directory: {}/journal }}", directory.path().display());
    let daemon = start(directory, &journal);
    let port = public_port(&daemon);
    let flow = "src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53 src=10.0.0.2 dst=203.0.113.10 sport=53";
    let now = format!("nat who-owned 203.0.113.10:{port} @0s");
    wait_for("its begin", || daemon.tell(&now).contains(&format!("{flow} dport={port} [start=")));
    // Who watches events hears of those that are not translated, too.
    let events = |from: Value| -> Value {
        let request = json!({"request": "events", "from": from});
        serde_json::from_str(&daemon.say(format!("{request}\n").as_bytes())).unwrap()
    };
    let next = events(Value::Null)["next"].clone();
    daemon.tell("conntrack -U -m 5 -p tcp");
    daemon.tell("conntrack -D -p tcp");
    wait_for("the events", || events(next.clone())["lines"].as_array().unwrap().len() == 2);

    daemon.tell("conntrack -D -p udp --sport 9");
    wait_for("the counters", || {
        let written = r#"sluice_log_events_total{sink="journal"}"#;
        value(&scrape(&daemon), written).and_then(|it| it.parse().ok()) >= Some(u64::from(FLOWS) + 3)
    });
    let scraped = scrape(&daemon);
    assert_eq!(value(&scraped, r#"sluice_log_events_dropped_total{sink="journal"}"#).as_deref(), Some("0"));
    assert!(value(&scraped, "sluice_journal_bytes").unwrap().parse::<u64>().unwrap() > 36 * u64::from(FLOWS));
    let shown = daemon.tell("export");
    assert!(shown.contains("journal ") && shown.contains("the journal takes 1 MiB"), "{shown}");
    daemon.write_config(&config(""));
    let refused = daemon.ask("reload");
    assert!(text(&refused.stderr).contains("only a restart can change export"), "{}", text(&refused.stderr));

    let directory = end(daemon);
    let begun = ask(directory.path(), port, "0s")["owners"][0]["start"].as_str().unwrap().to_owned();
    let then = ask(directory.path(), port, &begun);
    assert_eq!((&then["owners"][0]["sure"], &then["gaps"]), (&json!(true), &json!([])), "{then}");
    assert_eq!(then["owners"][0]["original"]["sport"], 7);

    // It goes on behind the restart, which is a gap.
    let daemon = start(directory, &journal);
    assert_eq!(public_port(&daemon), port);
    let directory = &daemon.directory;
    let mut found = Value::Null;
    wait_for("the roll call", || {
        found = ask(directory.path(), port, &begun);
        found["owners"][0]["seen"].as_str().unwrap() > found["owners"][0]["start"].as_str().unwrap()
    });
    let last = ask(directory.path(), port, "0s");
    let gap = &last["gaps"][0];
    assert_eq!((&gap["why"], &gap["over"]), (&json!("stopped"), &json!(false)), "{last}");
    let within = ask(directory.path(), port, gap["to"].as_str().unwrap());
    assert_eq!((&within["owners"][0]["sure"], &within["gaps"][0]["over"]), (&json!(true), &json!(true)));
    let before = ask(directory.path(), port, "1h");
    assert_eq!((&before["owners"], &before["gaps"][0]["over"]), (&json!([]), &json!(true)), "{before}");
}

/// A flow that is not of the capture, and its port outside, which the pool does not give.
const FLOW: &str = "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 40007 --dport 53";
const PUBLIC: u16 = 6999;

/// Begins and ends that flow, and ends the connection of TCP.
fn begin_and_end(daemon: &BoxUnderTest) {
    daemon.tell(&format!("conntrack -I -t 60 {FLOW} --src-nat 203.0.113.10:{PUBLIC}"));
    daemon.tell(&format!("conntrack -D {FLOW}"));
    daemon.tell("conntrack -D -p tcp");
}

/// What comes to a receiver, message by message.
fn messages(
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = receive(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until all that has come has this in it.
fn wait_for_text(received: &Receiver<Vec<u8>>, wanted: &str) -> String {
    let mut all = String::new();
    wait_for(wanted, || {
        received.try_iter().for_each(|message| all += &(text(&message) + "\n"));
        all.contains(wanted)
    });
    all
}

/// Whether nothing listens at a port, of TCP and of UDP.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn syslog_hears_of_begins_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixDatagram::bind(directory.path().join("syslog")).unwrap();
    let (to_udp, to_unix) = (udp.local_addr().unwrap(), directory.path().join("syslog"));
    let (udp, unix) = (messages(move |buffer| udp.recv(buffer)), messages(move |buffer| unix.recv(buffer)));
    let (port, path) = (free_port(), directory.path().display().to_string());
    let rsyslog = format!(
        "module(load=\"imtcp\")
input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")
template(name=\"all\" type=\"string\" string=\"%pri-text% %app-name% %msgid% %structured-data%%msg%\\n\")
action(type=\"omfile\" file=\"{path}/log\" template=\"all\")
"
    );
    fs::write(directory.path().join("rsyslog.conf"), rsyslog).unwrap();
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f", &format!("{path}/rsyslog.conf"), "-i", &format!("{path}/rsyslog.pid")]);
    let _rsyslogd = Host(command.spawn().unwrap());
    wait_for("rsyslogd", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let export = format!(
        "syslog: [{{ to: 'udp://{to_udp}', facility: local0 }}, {{ to: 'unix://{}', of: none, log-rules: true }}, {{ to: 'tcp://127.0.0.1:{port}', of: all }}]",
        to_unix.display()
    );
    let daemon = start(directory, &export);
    begin_and_end(&daemon);
    let data = format!(
        "[sluice@32473 protocol=\"udp\" src=\"10.0.0.1\" dst=\"10.0.0.2\" sport=\"40007\" dport=\"53\" \
         post-nat-src=\"203.0.113.10\" post-nat-dst=\"10.0.0.2\" post-nat-sport=\"{PUBLIC}\" post-nat-dport=\"53\" start="
    );
    let said = wait_for_text(&udp, &data);
    assert!(
        said.contains(" END [")
            && said.contains("reason=\"deleted\"] end udp 10.0.0.1,40007 -> 10.0.0.2,53 as "),
        "{said}"
    );
    assert!(said.starts_with("<134>1 ") && !said.contains("protocol=\"tcp\""), "{said}");
    let logged = " LOG - rule web: IN=inside OUT=outside SRC=10.0.0.1 DST=10.0.0.2 LEN=40 PROTO=tcp SPT=40000 DPT=80 SYN ";
    let said = wait_for_text(&unix, logged);
    assert!(
        said.starts_with("<30>1 ") && said.lines().count() == 1,
        "of connections it hears nothing: {said}"
    );
    let log = || fs::read_to_string(daemon.path("log")).unwrap_or_default();
    wait_for("all of it", || log().contains(&data) && log().contains("END [sluice@32473 protocol=\"tcp\""));
    let begun = "daemon.info sluice BEGIN [sluice@32473 protocol=\"udp\" src=\"10.0.0.1\" dst=\"10.0.0.2\" sport=\"40007\" ";
    assert!(log().lines().any(|line| line.starts_with(begun)), "{}", log());
    wait_for("the counters", || {
        daemon
            .tell("export")
            .lines()
            .any(|line| line.starts_with("syslog") && line.ends_with(&port.to_string()))
    });
    let scraped = scrape(&daemon);
    assert_eq!(value(&scraped, r#"sluice_log_events_dropped_total{sink="syslog"}"#).as_deref(), Some("0"));
}

/// A collector of IPFIX, which writes into a directory of its own what nfdump reads.
struct Collector {
    directory: tempfile::TempDir,
    port: u16,
    _nfcapd: Host,
}

impl Collector {
    fn start() -> Collector {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let flows = directory.path().join("flows");
        fs::create_dir(&flows).unwrap();
        let mut command = Command::new("nfcapd");
        command.args(["-b", "127.0.0.1", "-p", &port.to_string(), "-t", "2", "-w"]).arg(flows);
        let out = fs::File::create(directory.path().join("said")).unwrap();
        command.stderr(out.try_clone().unwrap()).stdout(out);
        let it = Collector { directory, port, _nfcapd: Host(command.spawn().unwrap()) };
        wait_for("nfcapd", || it.said().contains("Startup nfcapd."));
        it
    }

    /// Its own words.
    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap()
    }

    /// Records that it has written, in the order of their times.
    fn shown(&self, format: &str, filter: &str) -> Vec<String> {
        let mut command = Command::new("nfdump");
        let flows = self.directory.path().join("flows");
        let output =
            command.args(["-q", "-N", "-R"]).arg(flows).args(["-o", format, filter]).output().unwrap();
        let lines = text(&output.stdout);
        lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }
}

/// Read back by nfdump.
#[test]
fn collectors_of_ipfix_understand_flows_and_events() {
    let collector = Collector::start();
    let export = format!("ipfix: [{{ to: 'udp://127.0.0.1:{}', domain: 7 }}]", collector.port);
    let daemon = start(tempfile::tempdir().unwrap(), &export);
    begin_and_end(&daemon);
    let format = "fmt:%pr %sap %dap %nsap %ndap %pkt %byt %opkt %obyt";
    // The last that is told; nfcapd shows it when it begins its next file.
    let of_tcp = "6 10.0.0.1:40000 10.0.0.2:80 10.0.0.1:40000 10.0.0.2:80 1 40 0 0";
    wait_for("all records", || collector.shown(format, "proto tcp") == [of_tcp]);
    // Begin, end, and the flow.
    let of_udp = format!("17 10.0.0.1:40007 10.0.0.2:53 203.0.113.10:{PUBLIC} 10.0.0.2:53 0 0 0 0");
    assert_eq!(collector.shown(format, "src port 40007"), vec![of_udp; 3]);
    let raw = collector.shown("raw", "src port 40007");
    let of = |name: &str| raw.iter().filter(|line| line.starts_with(name)).cloned().collect::<Vec<_>>();
    // nfdump 1.7.1 has no names for those of RFC 8158.
    assert_eq!(of("nat event"), ["nat event = 4: UNKNOW", "nat event = 5: UNKNOW"]);
    assert_eq!(of("end reason"), ["end reason = 0x04 forced end"]);
    let [all, good] = ["Sequence Errors: ", "Sequence Errors: 0, Bad Packets: 0"]
        .map(|it| collector.said().matches(it).count());
    assert_eq!(all, good, "{}", collector.said());
}

#[test]
fn a_flow_that_goes_on_is_told_of_with_what_has_passed_since() {
    let collector = Collector::start();
    let export = format!("ipfix: [{{ to: 'udp://127.0.0.1:{}', active-timeout: 10s }}]", collector.port);
    let daemon = start(tempfile::tempdir().unwrap(), &export);
    let shown = || collector.shown("fmt:%pkt %byt", "proto tcp");
    wait_for("the first part", || shown() == ["1 40"]);
    daemon.tell("conntrack -D -p tcp");
    wait_for("its end", || shown() == ["1 40", "0 0"]);
    let raw = collector.shown("raw", "proto tcp");
    let of = |name: &str| raw.iter().filter(|line| line.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("end reason"), ["end reason = 0x02 active timeout", "end reason = 0x04 forced end"]);
    let [begun, until] = ["fmt:%ts", "fmt:%te"].map(|format| collector.shown(format, "proto tcp"));
    assert_eq!(begun[1], until[0], "the parts of a flow follow one another");
}

/// Ends a daemon and gives its directory.
fn end(mut daemon: BoxUnderTest) -> tempfile::TempDir {
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap())
}
