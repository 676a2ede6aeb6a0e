//! `zkCli` and `zookeeper-shell`: ZooKeeper's shell, for one command, from a pipe or at a terminal. The commands are in
//! `commands`; nothing here knows a node.

mod arguments;
mod commands;
mod history;
mod line_editor;
mod quota;

use crate::start::called;
use crate::zookeeper::{Notice, ZooKeeper, tls};
use commands::{COMMANDS, Command, Failure, HISTORY, OWN_COMMANDS};
use common::zk::request::Request;
use common::zk::response::Response;
use common::zk::session::{SessionConfig, SessionEvent};
use line_editor::{LineEditor, Said};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shell waits so long for a connection before it goes on without one.
const CONNECT: Duration = Duration::from_secs(2);
/// A shell that found no such command ends with this code.
const NOT_FOUND: u8 = 127;

/// What the shell itself does.
const OWN: &[(&str, &str)] =
    &[("connect", "host:port"), ("history", ""), ("printwatches", "on|off"), ("quit", ""), ("redo", "cmdno")];

/// `zkCli [-server host:port] [command...]`.
pub(crate) fn zk_cli(arguments: &[String]) -> anyhow::Result<ExitCode> {
    run(arguments, "-client-configuration properties-file")
}

/// `zookeeper-shell host:port [command...]`, as Kafka brings it.
pub(crate) fn zookeeper_shell(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.is_empty() {
        println!("USAGE: {} zookeeper_host:port[/path] [-zk-tls-config-file file] [args...]", called());
        return Ok(ExitCode::FAILURE);
    }
    let mut with_server = vec!["-server".to_owned()];
    with_server.extend_from_slice(arguments);
    run(&with_server, "[-zk-tls-config-file <file>]")
}

/// The shell's own options.
struct Invocation {
    server: String,
    timeout_ms: u32,
    read_only: bool,
    must_connect: bool,
    /// The file that says how to use TLS.
    tls: Option<Arc<rustls::ClientConfig>>,
    command: Vec<String>,
}

fn parse(arguments: &[String]) -> anyhow::Result<Invocation> {
    let mut invocation = Invocation {
        server: "localhost:2181".to_owned(),
        timeout_ms: 30_000,
        read_only: false,
        must_connect: false,
        tls: None,
        command: Vec::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "-server" | "-timeout" | "-client-configuration" | "-zk-tls-config-file" => {
                let Some(value) = arguments.next() else {
                    eprintln!("Error: no argument found for option {option}");
                    break;
                };
                match option.as_str() {
                    "-server" => invocation.server.clone_from(value),
                    "-timeout" => invocation.timeout_ms = value.parse().unwrap_or(invocation.timeout_ms),
                    _ => invocation.tls = tls::read(value)?,
                }
            }
            "-r" => invocation.read_only = true,
            "-waitforconnection" => invocation.must_connect = true,
            other if other.starts_with('-') => {}
            _ => {
                invocation.command.push(option.clone());
                invocation.command.extend(arguments.cloned());
                break;
            }
        }
    }
    Ok(invocation)
}

fn run(arguments: &[String], usage: &'static str) -> anyhow::Result<ExitCode> {
    let invocation = parse(arguments)?;
    println!("Connecting to {}", invocation.server);
    let mut shell = Shell {
        zookeeper: connect(&invocation.server, &invocation)?,
        invocation,
        usage,
        history: BTreeMap::new(),
        count: 0,
        print_watches: true,
        editor: None,
        has_made_ephemeral: false,
        exit_code: 0,
    };
    if shell.invocation.command.is_empty() {
        println!("Welcome to ZooKeeper!\nJLine support is enabled");
        shell.await_connection();
        shell.read_lines()?;
    } else {
        shell.await_connection();
        let command = shell.invocation.command.clone();
        shell.process(&command)?;
    }
    // An ephemeral node is to outlive the shell for a while, as with ZooKeeper's.
    if !shell.has_made_ephemeral && !shell.zookeeper.has_ended() {
        shell.zookeeper.leave();
    }
    Ok(ExitCode::from(shell.exit_code))
}

fn timespec(patience: Duration) -> Timespec {
    let patience = patience.min(Duration::from_secs(60));
    Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() }
}

fn connect(server: &str, invocation: &Invocation) -> anyhow::Result<ZooKeeper> {
    let mut config = SessionConfig::new(server, invocation.timeout_ms)?;
    config.read_only = invocation.read_only;
    Ok(ZooKeeper::start(config, invocation.tls.clone()))
}

struct Shell {
    zookeeper: ZooKeeper,
    invocation: Invocation,
    /// The shell's own options as the usage names them.
    usage: &'static str,
    history: BTreeMap<usize, String>,
    count: usize,
    print_watches: bool,
    /// At a terminal.
    editor: Option<LineEditor>,
    has_made_ephemeral: bool,
    exit_code: u8,
}

/// Does the shell go on?
enum Next {
    GoOn,
    Quit,
}

impl Shell {
    fn await_connection(&mut self) {
        let patience = match self.invocation.must_connect {
            true => Duration::from_millis(u64::from(self.invocation.timeout_ms)),
            false => CONNECT,
        };
        let deadline = Instant::now() + patience;
        while !self.zookeeper.is_connected()
            && !self.zookeeper.has_ended()
            && !self.zookeeper.is_refused()
            && Instant::now() < deadline
        {
            self.zookeeper.step(Some(deadline));
        }
        self.show_notices();
    }

    fn prompt(&self) -> String {
        let state = match (self.zookeeper.has_ended(), self.zookeeper.is_connected()) {
            (true, _) => "CLOSED",
            (_, true) => "CONNECTED",
            _ => "CONNECTING",
        };
        format!("[zk: {}({state}) {}] ", self.invocation.server, self.count)
    }

    fn read_lines(&mut self) -> anyhow::Result<()> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() && std::io::stdout().is_terminal() {
            let names = OWN.iter().map(|(name, _)| *name).chain(COMMANDS.iter().map(|command| command.name));
            self.editor = Some(LineEditor::start(names.collect())?);
        }
        let mut input = Vec::new();
        loop {
            let prompt = self.prompt();
            let line = if let Some(editor) = &self.editor {
                editor.prompt(prompt);
                self.edited_line()
            } else {
                print!("{prompt}");
                std::io::stdout().flush()?;
                self.next_line(&stdin, &mut input)?
            };
            let Some(line) = line else { return Ok(()) };
            if self.editor.is_none() {
                println!("{line}");
            }
            if !line.is_empty() {
                let words = arguments::words(&line);
                self.history.insert(self.count, line);
                if let Next::Quit = self.process(&words)? {
                    return Ok(());
                }
                self.count += 1;
            }
            self.show_notices();
        }
    }

    /// The next line from the terminal; meanwhile the session is kept alive and serves completion.
    fn edited_line(&mut self) -> Option<String> {
        loop {
            let editor = self.editor.as_mut()?;
            let mut descriptors = vec![PollFd::new(editor.wake(), PollFlags::IN)];
            if let Some(stream) = self.zookeeper.stream() {
                descriptors.push(PollFd::new(stream, PollFlags::IN));
            }
            let patience = timespec(self.zookeeper.idle_time());
            let _ = poll(&mut descriptors, Some(&patience));
            let is_said = !descriptors[0].revents().is_empty();
            drop(descriptors);
            if !is_said {
                self.zookeeper.step(Some(Instant::now()));
                self.show_notices();
                continue;
            }
            match editor.said() {
                Said::Line(line) => return Some(line),
                Said::End => return None,
                Said::ChildrenOf(path) => {
                    let children = match self.zookeeper.call(Request::GetChildren { path, watch: false }) {
                        Ok(Response::GetChildren { children }) => children,
                        _ => Vec::new(),
                    };
                    editor.answer(children);
                }
            }
        }
    }

    /// The next line of the input; meanwhile the session is kept alive.
    fn next_line(&mut self, stdin: &std::io::Stdin, input: &mut Vec<u8>) -> anyhow::Result<Option<String>> {
        let mut ended = false;
        loop {
            if let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = input.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned()));
            }
            if ended {
                let line = String::from_utf8_lossy(input).into_owned();
                input.clear();
                return Ok((!line.is_empty()).then_some(line));
            }
            let mut descriptors = vec![PollFd::new(stdin, PollFlags::IN)];
            if let Some(stream) = self.zookeeper.stream() {
                descriptors.push(PollFd::new(stream, PollFlags::IN));
            }
            let patience = timespec(self.zookeeper.idle_time());
            let _ = poll(&mut descriptors, Some(&patience));
            let [line_ready, answer_ready] =
                [0, 1].map(|index| descriptors.get(index).is_some_and(|one| !one.revents().is_empty()));
            drop(descriptors);
            if line_ready {
                let mut buffer = [0; 4096];
                let len = rustix::io::read(stdin, &mut buffer)?;
                ended = len == 0;
                input.extend_from_slice(&buffer[..len]);
            }
            if answer_ready || !line_ready {
                self.zookeeper.step(Some(Instant::now()));
                self.show_notices();
            }
        }
    }

    fn show_notices(&mut self) {
        while let Some(notice) = self.zookeeper.notices.pop_front() {
            if !self.print_watches {
                continue;
            }
            let (state, kind, path) = match notice {
                Notice::Session(SessionEvent::Connected { .. }) => ("SyncConnected", "None".to_owned(), None),
                Notice::Session(SessionEvent::Disconnected) => ("Disconnected", "None".to_owned(), None),
                Notice::Session(SessionEvent::Expired) => ("Expired", "None".to_owned(), None),
                Notice::Session(SessionEvent::AuthFailed) => ("AuthFailed", "None".to_owned(), None),
                Notice::Session(SessionEvent::Closed) => ("Closed", "None".to_owned(), None),
                Notice::Watch(event) => ("SyncConnected", format!("{:?}", event.kind), Some(event.path)),
            };
            let path = path.as_deref().unwrap_or("null");
            let text = format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path}");
            match &mut self.editor {
                Some(editor) => editor.print(text + "\n"),
                None => println!("{text}"),
            }
        }
    }

    fn show_usage(&self) {
        eprintln!("ZooKeeper -server host:port {} cmd args", self.usage);
        let mut lines: Vec<(&str, &str)> = OWN.to_vec();
        let shown = COMMANDS.iter().filter(|command| !matches!(command.name, "diff" | "tree" | "undelete"));
        lines.extend(shown.map(|command| (command.name, command.usage)));
        lines.sort_unstable();
        for (name, usage) in lines {
            eprintln!("\t{name} {usage}");
        }
        eprintln!("{}", crate::options::OF_CASTELLAN);
        for (name, usage) in OWN_COMMANDS {
            eprintln!("\t{name} {usage}");
        }
    }

    fn process(&mut self, words: &[String]) -> anyhow::Result<Next> {
        let Some(name) = words.first() else {
            self.show_usage();
            eprintln!("No command entered");
            self.exit_code = 1;
            return Ok(Next::GoOn);
        };
        let outcome = match (name.as_str(), words.get(1)) {
            ("quit", _) => {
                self.zookeeper.close();
                self.show_notices();
                return Ok(Next::Quit);
            }
            ("redo", Some(number)) => return self.redo(number),
            ("history", Some(_)) => self.send(&HISTORY, words),
            ("history", None) => {
                for index in self.count.saturating_sub(10)..=self.count {
                    println!("{index} - {}", self.history.get(&index).map_or("null", String::as_str));
                }
                Ok(())
            }
            ("printwatches", None) => {
                println!("printwatches is {}", if self.print_watches { "on" } else { "off" });
                Ok(())
            }
            ("printwatches", Some(word)) => {
                self.print_watches = word == "on";
                Ok(())
            }
            ("connect", server) => {
                let server = server.unwrap_or(&self.invocation.server).clone();
                self.zookeeper.close();
                self.show_notices();
                self.zookeeper = connect(&server, &self.invocation)?;
                self.invocation.server = server;
                self.await_connection();
                Ok(())
            }
            ("redo", None) => Ok(()),
            _ => match COMMANDS.iter().find(|command| command.name == name) {
                Some(command) => self.send(command, words),
                None => {
                    self.show_usage();
                    eprintln!("Command not found: Command not found {name}");
                    self.exit_code = NOT_FOUND;
                    return Ok(Next::GoOn);
                }
            },
        };
        self.exit_code = u8::from(outcome.is_err());
        if let Err(failure) = outcome {
            eprintln!("{failure}");
        }
        Ok(Next::GoOn)
    }

    fn send(&mut self, command: &Command, words: &[String]) -> Result<(), Failure> {
        if self.zookeeper.has_ended() {
            println!("Not connected");
            return Ok(());
        }
        self.has_made_ephemeral |= command.name == "create" && words.iter().any(|word| word == "-e");
        let outcome = command.run(&mut self.zookeeper, words);
        std::io::stdout().flush().map_err(|error| Failure::Text(error.to_string()))?;
        self.show_notices();
        outcome
    }

    fn redo(&mut self, number: &str) -> anyhow::Result<Next> {
        let line = number.parse::<usize>().ok().filter(|index| *index < self.count);
        let Some(line) = line.and_then(|index| self.history.get(&index).cloned()) else {
            eprintln!("Command index out of range");
            self.exit_code = 1;
            return Ok(Next::GoOn);
        };
        let words = arguments::words(&line);
        if words.first().is_some_and(|word| word == "redo") {
            eprintln!("No redoing redos");
            self.exit_code = 1;
            return Ok(Next::GoOn);
        }
        self.history.insert(self.count, line);
        self.process(&words)
    }
}
