//! The shell's line at a terminal: editing, history and completion. The editor waits for keys in a thread of its own,
//! because the session must be kept alive meanwhile. Knows no command but by name.

use rustyline::completion::Completer;
use rustyline::config::{CompletionType, Config};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A completion waits no longer for the names of nodes.
const NAMES: Duration = Duration::from_secs(2);

/// What comes from the terminal.
pub(super) enum Said {
    Line(String),
    /// Completion wants the names of the children of this node; [`LineEditor::answer`] gives them.
    ChildrenOf(String),
    /// Ctrl-D or Ctrl-C.
    End,
}

/// The shell's side of the editor.
pub(super) struct LineEditor {
    prompts: Sender<String>,
    said: Receiver<Said>,
    names: Sender<Vec<String>>,
    wake: UnixStream,
    printer: Box<dyn ExternalPrinter + Send>,
}

impl LineEditor {
    /// Takes over the terminal; `commands` are completed as first words.
    pub(super) fn start(commands: Vec<&'static str>) -> anyhow::Result<LineEditor> {
        let (prompts, next_prompt) = channel::<String>();
        let (say, said) = channel();
        let (names, answers) = channel();
        let (wake, bell) = UnixStream::pair()?;
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
        let shell = Line { say: say.clone(), bell: bell.try_clone()? };
        let line = Line { say, bell };
        let (ready, is_ready) = channel::<rustyline::Result<Box<dyn ExternalPrinter + Send>>>();
        std::thread::spawn(move || {
            let made = Editor::<Names, MemHistory>::with_history(config, MemHistory::new()).and_then(|mut editor| {
                editor.set_helper(Some(Names { commands, shell, answers }));
                let printer: Box<dyn ExternalPrinter + Send> = Box::new(editor.create_external_printer()?);
                Ok((editor, printer))
            });
            let mut editor = match made {
                Ok((editor, printer)) => {
                    let _ = ready.send(Ok(printer));
                    editor
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            // Ends with the shell, which then asks for no more lines.
            while let Ok(prompt) = next_prompt.recv() {
                line.tell(editor.readline(prompt.as_str()).map_or(Said::End, Said::Line));
            }
        });
        let printer = is_ready.recv()??;
        Ok(LineEditor { prompts, said, names, wake, printer })
    }

    /// Asks for a line.
    pub(super) fn prompt(&self, prompt: String) {
        // The thread ends only with the shell.
        let _ = self.prompts.send(prompt);
    }

    /// Readable when something was said.
    pub(super) fn wake(&self) -> &UnixStream {
        &self.wake
    }

    /// What was said; call it once each time [`Self::wake`] is readable.
    pub(super) fn said(&mut self) -> Said {
        let _ = self.wake.read(&mut [0]);
        self.said.recv().unwrap_or(Said::End)
    }

    /// The names that [`Said::ChildrenOf`] asked for.
    pub(super) fn answer(&self, names: Vec<String>) {
        let _ = self.names.send(names);
    }

    /// Prints above the line that is being edited.
    pub(super) fn print(&mut self, text: String) {
        let _ = self.printer.print(text);
    }
}

/// The editor's side.
struct Line {
    say: Sender<Said>,
    bell: UnixStream,
}

impl Line {
    fn tell(&self, said: Said) {
        let _ = self.say.send(said);
        let _ = (&self.bell).write_all(&[0]);
    }
}

/// Completes commands and paths.
struct Names {
    commands: Vec<&'static str>,
    shell: Line,
    answers: Receiver<Vec<String>>,
}

impl Helper for Names {}
impl Highlighter for Names {}
impl Validator for Names {}

impl Hinter for Names {
    type Hint = String;
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line[..at].rfind(' ').map_or(0, |blank| blank + 1);
        let word = &line[start..at];
        let Some(slash) = word.rfind('/') else {
            let names = if start == 0 { self.commands.as_slice() } else { &[] };
            return Ok((start, beginning_with(word, names.iter().copied())));
        };
        let parent = if slash == 0 { "/" } else { &word[..slash] };
        self.shell.tell(Said::ChildrenOf(parent.to_owned()));
        let children = self.answers.recv_timeout(NAMES).unwrap_or_default();
        Ok((start + slash + 1, beginning_with(&word[slash + 1..], children.iter().map(String::as_str))))
    }
}

fn beginning_with<'a>(start: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = names.filter(|name| name.starts_with(start)).map(str::to_owned).collect();
    found.sort_unstable();
    found
}
