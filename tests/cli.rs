//! The binary as seen from a terminal: help, refusals, exit codes, start and stop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn hamster(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hamster"));
    command.args(arguments).env_remove("HAMSTER_ACCESS_KEY_ID").env_remove("HAMSTER_SECRET_ACCESS_KEY");
    command
}

fn run(arguments: &[&str]) -> Output {
    hamster(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asserts a refusal: this exit code, one line, and each of these words in the line.
#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    for word in words {
        assert!(line.contains(word), "{word} is not in {line}");
    }
}

/// A serving process, killed when the test ends.
struct Node {
    child: Child,
    /// What it printed until it was ready.
    printed: String,
}

impl Node {
    /// Starts `command` and waits until it prints a line with `mark`.
    fn start(mut command: Command, mark: &str) -> Node {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut node = Node { child, printed: String::new() };
        let mut lines = BufReader::new(node.child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next().expect("a line before the process ends").unwrap();
            node.printed.push_str(&line);
            node.printed.push('\n');
            if line.contains(mark) {
                return node;
            }
        }
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PORTS: [&str; 6] = ["-s3", "127.0.0.1:0", "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"];

fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = hamster(&["serve", "--cores", "1", "--data-dir", data.to_str().unwrap()]);
    command.args(PORTS).args(more);
    command.env("HAMSTER_ACCESS_KEY_ID", "key").env("HAMSTER_SECRET_ACCESS_KEY", "a-secret-of-mine");
    command
}

fn init(data: &Path) -> Output {
    run(&["init", "-data-dir", data.to_str().unwrap(), "--zone", "z1", "--capacity", "10TiB"])
}

#[test]
fn help_lists_the_verbs_in_every_spelling_and_version_prints_one_line() {
    for spelling in [&["help"][..], &["--help"], &["-help"], &["-h"], &[]] {
        let output = run(spelling);
        assert!(output.status.success());
        let text = text(&output.stdout);
        for verb in ["init", "serve", "quickstart", "status", "metrics", "version", "help"] {
            assert!(text.contains(&format!("  {verb} ")), "{verb} is not in {text}");
        }
    }
    for spelling in ["version", "--version", "-V"] {
        assert_eq!(text(&run(&[spelling]).stdout), format!("hamster {}\n", env!("CARGO_PKG_VERSION")));
    }
    let flags = text(&run(&["help", "serve"]).stdout);
    let all =
        "--data-dir --s3 --no-s3 --s3-health --trust-proxy --listen --admin --region --domain --cores --cpus";
    for flag in all.split(' ') {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_code_2() {
    refused(&run(&["frobnicate"]), 2, &["frobnicate", "hamster help"]);
    refused(&run(&["help", "frobnicate"]), 2, &["frobnicate"]);
    refused(&run(&["serve", "--bogus"]), 2, &["--bogus"]);
    refused(&run(&["serve", "--s3", "9000"]), 2, &["IP:PORT"]);
    refused(&run(&["serve", "--cores", "0"]), 2, &["cores"]);
    refused(&run(&["serve", "--tls-cert", "x"]), 2, &["--tls-key"]);
    refused(&run(&["serve", "--no-s3", "--s3", "127.0.0.1:1"]), 2, &["--no-s3"]);
    refused(&run(&["serve", "--no-s3", "--trust-proxy", "10.0.0.0/8"]), 2, &["--no-s3"]);
    refused(&run(&["serve", "--trust-proxy", "10.1.2.3/8"]), 2, &["--trust-proxy", "10.0.0.0/8"]);
    refused(&run(&["serve", "--trust-proxy", "0.0.0.0/0"]), 2, &["every client"]);
    refused(
        &run(&["serve", "--s3-health", "/health"]),
        2,
        &["bucket named health", "--s3-health-over-bucket"],
    );
    refused(&run(&["serve", "--s3-health-over-bucket"]), 2, &["--s3-health"]);
    refused(&run(&["serve", "--admin", "127.0.0.1:9000"]), 2, &["--s3", "--admin", "127.0.0.1:9000"]);
    refused(&run(&["serve", "--cpus", "3-1"]), 2, &["--cpus", "0-3,8"]);
    refused(&run(&["serve", "--cpus", "0,0"]), 2, &["CPU 0 is named twice"]);
    refused(&run(&["init", "--zone", "a b"]), 2, &["--zone"]);
    refused(&run(&["init", "--capacity", "much"]), 2, &["10TiB"]);
}

#[test]
fn init_founds_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let output = init(&data);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("hamster serve --data-dir"));
    refused(&init(&data), 3, &["already holds a node"]);
}

#[test]
fn serve_refuses_with_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    refused(&serve(&data, &[]).output().unwrap(), 3, &["hamster init"]);
    assert!(!data.exists(), "a refusal leaves nothing behind");
    init(&data);

    let bare = run(&["serve", "--data-dir", data.to_str().unwrap()]);
    refused(&bare, 3, &["HAMSTER_ACCESS_KEY_ID", "--no-s3"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut clash =
        hamster(&["serve", "--no-s3", "--cores", "1", "--admin", "127.0.0.1:0", "--listen", &address]);
    clash.args(["--data-dir", data.to_str().unwrap()]);
    refused(&clash.output().unwrap(), 3, &[&address, "is taken", "--listen"]);

    let mut unreadable = serve(&data, &[]);
    unreadable
        .env_remove("HAMSTER_SECRET_ACCESS_KEY")
        .env("HAMSTER_SECRET_ACCESS_KEY_FILE", "/does/not/exist");
    refused(&unreadable.output().unwrap(), 3, &["/does/not/exist"]);

    let no_pem = data.join("identity/node");
    let unfit =
        serve(&data, &["--tls-cert", no_pem.to_str().unwrap(), "--tls-key", no_pem.to_str().unwrap()])
            .output();
    refused(&unfit.unwrap(), 3, &["--tls-cert"]);
    let unwritable = serve(&data, &["--access-log", "json", "--access-log-file", "/does/not/exist"]).output();
    refused(&unwritable.unwrap(), 3, &["/does/not/exist"]);
    assert!(!data.join("cores").exists(), "a refusal leaves the number of cores open");

    std::fs::remove_file(data.join("identity/node.key")).unwrap();
    refused(&serve(&data, &[]).output().unwrap(), 3, &["node.key"]);
}

#[test]
fn a_node_starts_answers_and_drains_and_one_directory_has_one_node() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    init(&data);
    let mut node = Node::start(serve(&data, &[]), "ready:");

    refused(&serve(&data, &[]).output().unwrap(), 3, &["another hamster", "process"]);

    let status = run(&["status", "--data-dir", data.to_str().unwrap()]);
    let table = text(&status.stdout);
    assert!(status.status.success() && table.contains("z1") && table.contains("10.0 TiB"), "{table}");
    let json = run(&["status", "--json", "--data-dir", data.to_str().unwrap()]);
    assert!(text(&json.stdout).contains("\"cluster_id\""));
    let metrics = run(&["metrics", "-data-dir", data.to_str().unwrap()]);
    assert!(text(&metrics.stdout).contains("hamster_ready 1"));

    let admin = node.printed.rsplit("admin ").next().unwrap().trim();
    let mut socket = TcpStream::connect(admin).unwrap();
    socket.write_all(b"GET /health/ready HTTP/1.1\r\n\r\n").unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");

    assert_eq!(node.terminate(), Some(0));
    let stopped = run(&["status", "--data-dir", data.to_str().unwrap()]);
    refused(&stopped, 1, &["no node answers", "hamster serve"]);
    refused(&serve(&data, &["--cores", "2"]).output().unwrap(), 2, &["--cores"]);
    let mut other = hamster(&["serve", "--no-s3", "--cores", "2", "--data-dir", data.to_str().unwrap()]);
    other.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    refused(&other.output().unwrap(), 3, &["--cores 1"]);
}

/// The CPUs that this process may use.
fn allowed_cpus() -> Vec<String> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).map(|cpu| cpu.to_string()).collect()
}

/// The name of each thread of a node, and the CPUs that it may use.
fn threads(node: &Node) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.child.id())).unwrap();
    let thread = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        (field("Name:"), field("Cpus_allowed_list:"))
    };
    tasks.map(thread).collect()
}

#[test]
fn all_threads_of_a_node_keep_to_the_cpus_that_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    init(&data);
    let cpu = allowed_cpus().remove(0);
    let start = |more: &[&str]| {
        let mut command = hamster(&["serve", "--no-s3", "--data-dir", data.to_str().unwrap()]);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(more);
        command
    };
    refused(&start(&["--cpus", "1023"]).output().unwrap(), 3, &["CPU 1023 is not one", "--cpus"]);

    // Without --cores the first start takes one core per CPU of the list.
    let mut node = Node::start(start(&["--cpus", &cpu]), "ready:");
    let threads = threads(&node);
    assert!(threads.iter().all(|(_, cpus)| *cpus == cpu), "{threads:?}");
    assert!(threads.len() > 3, "cores, the watchdog, the metadata store's threads");
    assert_eq!(node.terminate(), Some(0));
    refused(&start(&["--cores", "2"]).output().unwrap(), 3, &["divided over 1 core", "--cores 1"]);
    // The CPUs may change while the cores stay.
    let mut node = Node::start(start(&[]), "ready:");
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn each_core_is_pinned_to_one_of_the_cpus() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    init(&data);
    let cpus: Vec<_> = allowed_cpus().into_iter().take(2).collect();
    let mut command = hamster(&["serve", "--no-s3", "--data-dir", data.to_str().unwrap()]);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cpus", &cpus.join(",")]);
    let mut node = Node::start(command, "ready:");
    let mut cores = threads(&node);
    cores.retain(|(name, _)| name.starts_with("core-"));
    cores.sort();
    assert_eq!(cores.into_iter().map(|(_, cpus)| cpus).collect::<Vec<_>>(), cpus);
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn a_killed_node_starts_again_at_once_on_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    init(&data);
    let first = Node::start(serve(&data, &[]), "ready:");
    let admin = first.printed.rsplit("admin ").next().unwrap().trim().to_owned();
    drop(first);
    let mut again = hamster(&["serve", "--no-s3", "--listen", "127.0.0.1:0", "--admin", &admin]);
    again.args(["--data-dir", data.to_str().unwrap()]);
    let mut second = Node::start(again, "ready:");
    assert_eq!(second.terminate(), Some(0));
}

#[test]
fn quickstart_prints_lines_to_paste_and_a_second_run_keeps_the_credential() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = hamster(&["quickstart", "--cores", "1"]);
        command.args(PORTS).current_dir(dir.path());
        Node::start(command, "Ctrl-C")
    };
    let exported = |node: &Node, name: &str| {
        let start = format!("export {name}=");
        let line = node.printed.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name} is not in {}", node.printed))
    };
    let mut first = start();
    assert!(exported(&first, "AWS_ENDPOINT_URL").starts_with("http://127.0.0.1:"));
    assert_eq!(exported(&first, "AWS_REGION"), "us-east-1");
    assert_eq!(exported(&first, "AWS_DEFAULT_REGION"), "us-east-1");
    assert_eq!(first.terminate(), Some(0));
    let mut second = start();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert_eq!(exported(&first, name), exported(&second, name));
    }
    assert_eq!(second.terminate(), Some(0));
}
