//! The page that Prometheus fetches, over HTTP.
//!
//! A client that is slow, silent or talks nonsense has its time, and its place until others want it, and costs nothing else:
//! neither the log nor the daemon's descriptors nor whoever comes next are at its mercy. All are served on one thread.
//!
//! HTTP comes from the network and is hyper's, which brings tokio; the control socket, where a client waits in the middle
//! of a request for the daemon to answer, has a thread for each client. Neither model would serve the other's purpose
//! with less code.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::task::{self, AbortHandle};
use tokio::time;

/// Longest request in bytes, all its headers included.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Clients served at one time; for one more, that which has been connected for longest is sent away.
const MAX_CLIENTS: usize = 16;

/// How long a client has for all that it says and takes: what Prometheus gives a scrape unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody is accepted after the system has refused to, for want of descriptors most likely.
const REST: Duration = Duration::from_millis(100);

/// The text format of Prometheus.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves the page that `render` writes as `/metrics` of `listen`, from now on, on a thread of its own; gives the address,
/// which has a port even where `listen` asks for any.
///
/// # Errors
/// The address is taken, or is not this machine's; or there is no thread.
pub fn serve<F>(listen: SocketAddr, render: F) -> io::Result<SocketAddr>
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let listener = std::net::TcpListener::bind(listen)?;
    let address = listener.local_addr()?;
    serve_for(PATIENCE, listener, render)?;
    Ok(address)
}

fn serve_for<F>(patience: Duration, listener: std::net::TcpListener, render: F) -> io::Result<()>
where
    F: Fn() -> String + Send + Sync + 'static,
{
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let run = move || runtime.block_on(accept(listener, patience, Arc::new(render)));
    thread::Builder::new().name("metrics".to_owned()).spawn(run).map(drop)
}

async fn accept<F>(listener: TcpListener, patience: Duration, render: Arc<F>)
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let mut clients = VecDeque::<AbortHandle>::with_capacity(MAX_CLIENTS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            time::sleep(REST).await;
            continue;
        };
        clients.retain(|client| !client.is_finished());
        if clients.len() >= MAX_CLIENTS
            && let Some(oldest) = clients.pop_front()
        {
            oldest.abort();
        }
        let render = Arc::clone(&render);
        let client = tokio::spawn(async move {
            // A client that has had its time, or has gone away, is no error of ours.
            let _ = time::timeout(patience, attend(stream, &*render)).await;
        });
        clients.push_back(client.abort_handle());
        // Whoever has said all by now is answered before the next one comes.
        task::yield_now().await;
    }
}

/// Answers one request.
async fn attend(stream: TcpStream, render: &impl Fn() -> String) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let answer = answer(&request, render);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).max_buf_size(MAX_REQUEST_BYTES).header_read_timeout(None);
    server.serve_connection(TokioIo::new(stream), service).await
}

fn answer<Body>(request: &Request<Body>, render: &impl Fn() -> String) -> Response<Full<Bytes>> {
    let (status, page) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, render()),
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "the metrics can be fetched only\n".to_owned()),
    };
    let mut answer = Response::new(Full::from(page));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// More than the kernel takes of an answer that nobody reads.
    const LONG: usize = 16 << 20;

    fn start(patience: Duration, length: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve_for(patience, listener, move || "x".repeat(length)).unwrap();
        address
    }

    fn say(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn hear(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        // What is closed before all that was said has been read ends in an error.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn a_request_gets_its_answer() {
        let address = start(PATIENCE, 3);
        for (request, page) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "xxx"),
            ("GET /metrics?a=b HTTP/1.0\r\n\r\n", "xxx"),
            ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", ""),
        ] {
            let answer = hear(say(address, request));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, page, "{request}");
            assert!(head.contains(" 200 OK\r\n"), "{head}");
            for header in ["content-type: text/plain; version=0.0.4; charset=utf-8", "content-length: 3"] {
                assert!(head.contains(header), "{head}");
            }
        }
        let endless = "GET /metrics HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(MAX_REQUEST_BYTES);
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\u{16}\u{3}\u{1} ?\r\n\r\n", "400"),
            (&endless, "431"),
        ] {
            let answer = hear(say(address, request));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        }
    }

    #[test]
    fn who_says_or_takes_nothing_gives_up_its_place() {
        let address = start(Duration::from_millis(500), LONG);
        let silent = (0..MAX_CLIENTS / 2).map(|_| say(address, "GET /metr"));
        let deaf = (0..MAX_CLIENTS / 2).map(|_| say(address, "GET /metrics HTTP/1.1\r\n\r\n"));
        let waiting: Vec<TcpStream> = silent.chain(deaf).collect();
        while hear(say(address, "GET /metrics HTTP/1.1\r\n\r\n")).len() < LONG {}
        waiting.into_iter().take(MAX_CLIENTS / 2).for_each(|stream| assert_eq!(hear(stream), ""));
    }

    #[test]
    fn who_has_been_connected_for_longest_gives_way() {
        let address = start(PATIENCE, 3);
        let silent: Vec<TcpStream> = (0..2 * MAX_CLIENTS).map(|_| say(address, "G")).collect();
        for _ in 0..4 * MAX_CLIENTS {
            let answer = hear(say(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nxxx"), "{answer}");
        }
        silent.into_iter().take(MAX_CLIENTS).for_each(|stream| assert_eq!(hear(stream), ""));
    }
}
