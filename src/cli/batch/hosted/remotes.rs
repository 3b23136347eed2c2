//! Which remotes the models of a batch ask: one file of requests goes to one server.

use std::collections::BTreeMap;

use crate::cascade::Whom;
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::failure::Failure;
use crate::load_spec::{self, CascadeSpec};
use crate::store::{Elsewhere, Weights};

/// Checks that the models have remotes as tiers, all of one server.
///
/// # Errors
/// They have none, or those of several, or one is a remote itself.
pub fn check(models: &[String], environment: &Environment) -> Result<(), Failure> {
    let mut found = BTreeMap::new();
    models.iter().try_for_each(|model| collect(model, environment, &mut found))?;
    let servers: Vec<(&String, &String)> = found.iter().collect();
    match servers.as_slice() {
        [] => Err(Failure::usage(
            "none of these models is a cascade with a remote, so that nothing would go to a hosted batch; remove --hosted-batch and \
             --hosted-results",
        )),
        [_] => Ok(()),
        [(one, first), (other, second), ..] => Err(Failure::usage(format!(
            "a hosted batch goes to one server, and `{first}` asks {one}, `{second}` {other}; make a batch of each model"
        ))),
    }
}

/// The addresses of remotes, each with a model that asks it.
fn collect(name: &str, environment: &Environment, found: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let model = load::find(name, environment)?;
    let json = match &model.weights {
        Weights::Elsewhere(Elsewhere::Cascade(json)) => json,
        Weights::Elsewhere(Elsewhere::Remote(_)) => {
            return Err(Failure::usage(format!(
                "`{name}` is a remote: all of its requests can go to its server as they are; --hosted-batch is for cascades"
            )));
        }
        _ => return Ok(()),
    };
    let CascadeSpec { cascade, remotes } = load_spec::cascade(&model, json)?;
    for (tier, remote) in cascade.tiers.iter().zip(remotes) {
        match (remote, &tier.whom) {
            (Some(remote), _) => {
                found.entry(remote.base_url().to_string()).or_insert_with(|| name.to_owned());
            }
            (None, Whom::Model { name, .. }) => collect(&name.to_string(), environment, found)?,
            (None, Whom::Remote(_) | Whom::Words { .. }) => {}
        }
    }
    Ok(())
}
