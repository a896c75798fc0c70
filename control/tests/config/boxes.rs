//! What is said of the other boxes of a cluster.

use super::*;

#[test]
fn a_cluster_is_of_boxes_that_can_be_reached() {
    let peer = "peers: {b: {url: 'redis://10.99.0.12:6380'}}";
    let file = |rest: &str| {
        with(&format!("ha: {{cluster: edge, box: a, engine: {{url: 'unix:///run/redis.sock'}}, {rest}}}"))
    };
    let config = parse(&file(peer)).unwrap();
    assert_eq!(parse(&config::to_yaml(&config)), Ok(config));
    let secure = "peers: {b: {url: 'rediss://10.99.0.12:6380', user: a, password-file: /p, ca: /ca, cert: /cert, key: /key}}";
    let config = parse(&file(secure)).unwrap();
    assert_eq!(parse(&config::to_yaml(&config)), Ok(config));
    assert!(parse(&file("replicate: all")).is_ok(), "one that tells and listens to nobody");
    for (rest, said) in [
        ("peers: {a: {url: 'redis://10.99.0.12:6380'}}", "`a` is this box itself (ha.box)"),
        ("peers: {b: {url: 'unix:///run/redis.sock'}}", "is this box's own Redis (ha.engine)"),
        ("peers: {b: {url: 'redis://box-b:6380'}}", "`box-b:6380` is not an IP address and a port"),
        ("peers: {b: {url: 'redis://0.0.0.0:6380'}}", "nobody can be reached at 0.0.0.0:6380"),
        ("peers: {b: {url: 'rediss://box-b:6380'}}", "`box-b:6380` is not an IP address and a port"),
        ("peers: {b: {url: 'rediss://0.0.0.0:6380', ca: /ca}}", "nobody can be reached at 0.0.0.0:6380"),
        ("peers: {b: {url: 'rediss://10.99.0.12:6380'}}", "`ca` is missing: who may have signed"),
        (
            "peers: {b: {url: 'rediss://10.99.0.12:6380', ca: /ca, cert: /cert}}",
            "`key` is missing: `cert` and `key` go together",
        ),
        (
            "peers: {b: {url: 'redis://10.99.0.12:6380', ca: /ca}}",
            "redis://10.99.0.12:6380 is reached without TLS",
        ),
        ("peers: {b: {url: 'redis://10.99.0.12:6380', user: b}}", "the password of `b` is missing"),
        ("verify: policy", "a wire does not know by which port a connection would begin"),
        ("peers: {'b:c': {url: 'redis://10.99.0.12:6380'}}", "`b:c` cannot be a name"),
        ("peers: {b: {}}", "lacks the key `url`"),
        (
            "peers: {b: {url: 'redis://10.0.0.2:1'}, c: {url: 'redis://10.0.0.3:1'}}",
            "without groups a box can stand by for one peer",
        ),
        ("witness: {url: 'redis://10.0.0.30:1'}", "there is nothing to witness"),
        ("witness: {url: 'unix:///run/redis.sock'}", "is the Redis of one of the boxes"),
        ("witness: {url: 'rediss://10.0.0.30:1'}", "`ca` is missing"),
        ("replicate: some", "`some` is not known here"),
        (
            "something: {}",
            "valid keys here: cluster, box, replicate, verify, engine, peers, witness, groups, takeover, track-file, announce",
        ),
    ] {
        let message = refusal(&file(rest));
        assert!(message.contains(said), "{rest}: {message}");
    }
    for (ha, said) in [
        ("ha: {cluster: edge, engine: {url: 'unix:///run/redis.sock'}}", "lacks the key `box`"),
        ("ha: {cluster: edge, box: a}", "lacks the key `engine`"),
        (
            "ha: {cluster: edge, box: a, engine: {url: 'rediss://127.0.0.1:6380'}}",
            "the box's own Redis is reached in the clear",
        ),
        ("ha: {cluster: '', box: a, engine: {url: 'unix:///r'}}", "`` cannot be a name"),
        ("ha: {cluster: c, box: a, engine: {url: 'unix:///r', memory: 9K}}", "9K is too little"),
    ] {
        let message = refusal(&with(ha));
        assert!(message.contains(said), "{ha}: {message}");
    }
}
