//! What the client's subcommands share: whom to ask and as whom, what to check out, and the exit code of each
//! failure.

use std::{
    io::{self, Read},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use genie_client::{
    Ca, Checkout, Client, Config, Credential, Denied, Error, Given, MAX_CREDENTIAL, Transport, identity,
    v1::Verdict,
};

use super::{Exit, Failure};

/// Whom to ask, as whom. Left out, each is looked for in a Service Binding, then in the environment.
#[derive(clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Address of the license server [env: GENIE_LM_URI].
    #[arg(long, value_name = "https://HOST:PORT")]
    uri: Option<String>,
    /// Product to ask for [env: GENIE_LM_PRODUCT].
    #[arg(long)]
    product: Option<String>,
    /// File with the activation key or a token, - for stdin [env: GENIE_LM_KEY, or GENIE_LM_TOKEN_FILE].
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// CA certificate of the license server [env: GENIE_LM_CA_FILE].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Directory of a Service Binding; otherwise the one of type genie-lm under $SERVICE_BINDING_ROOT.
    #[arg(long, value_name = "DIR")]
    binding: Option<PathBuf>,
}

impl Connection {
    /// The client; within a runtime.
    pub(super) fn client(self) -> Result<Client, Failure> {
        let credential = match self.key_file.as_deref() {
            Some(path) if path == Path::new("-") => Some(Credential::Text(stdin()?)),
            Some(path) => Some(Credential::File(path.to_owned())),
            None => None,
        };
        let given = Given {
            uri: self.uri,
            product: self.product,
            credential,
            ca: self.ca_file.map(Ca::File),
            binding: self.binding,
        };
        Ok(Client::new(Config::discover(given).map_err(Failure::configuration)?))
    }
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_CREDENTIAL + 1).read_to_string(&mut text);
    read.map_err(|e| Failure::configuration(format!("cannot read the activation key from stdin: {e}")))?;
    Ok(text)
}

/// What to check out.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// A feature that the seat must have; may be repeated. None: the features of the tier.
    #[arg(long = "feature", value_name = "NAME")]
    features: Vec<String>,
    /// Seats to take, all or none.
    #[arg(long, default_value = "1", value_parser = count)]
    count: NonZeroU32,
    /// Name of the application, for those who look at the sessions.
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    #[command(flatten)]
    version: AppVersion,
}

/// What is licensed up to a version is judged by it.
#[derive(clap::Args)]
pub(super) struct AppVersion {
    /// Version of the application, such as 2026.1. None: it counts as the newest.
    #[arg(long = "app-version", value_name = "VERSION")]
    version: Option<String>,
}

impl AppVersion {
    /// The client of that application.
    pub(super) fn of(&self, client: Client) -> Client {
        client.with_version(self.version.as_deref().unwrap_or_default())
    }
}

impl Wanted {
    /// The client of the application that wants it.
    pub(super) fn client(&self, connection: Connection) -> Result<Client, Failure> {
        Ok(self.version.of(connection.client()?))
    }

    pub(super) fn checkout(self, application: &str) -> Checkout {
        let mut client = identity("");
        client.application = self.application.unwrap_or_else(|| application.to_owned());
        client.version = self.version.version.unwrap_or_default();
        Checkout { features: self.features, count: self.count.get(), client }
    }
}

fn count(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("write a whole number from 1 to {}", u32::MAX))
}

/// The exit code of a verdict.
pub(super) fn exit(denied: Option<&Denied>) -> Exit {
    match denied.map(|denied| denied.verdict) {
        None => Exit::Success,
        Some(Verdict::Expired) => Exit::Expired,
        Some(_) => Exit::Denied,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            Error::Denied(denied) => Failure::new(exit(Some(denied)), &error),
            Error::Transport(Transport::Status {
                server,
                code: tonic::Code::InvalidArgument,
                message,
                ..
            }) => Failure::usage(format!("the license server at {server} refused the request: {message}")),
            Error::Transport(_) => Failure::new(Exit::Unavailable, &error),
            Error::Config(_) => Failure::configuration(&error),
        }
    }
}
