//! The tiers of a cascade as the server opens them: each is a model that is held for as long as it answers, in line as any other.

use std::sync::Arc;

use super::Service;
use super::model_cache::{CachedModel, TierRemotes};
use crate::api::logging::Account;
use crate::api::request_context::RequestContext;
use slm_cascade::{Step, Whom};
use slm_infer::infer::{CascadeDoor, CascadeModel, Held, OpenTier, Opening, Responder, Watcher, WordsModel, replaced};
use slm_values::digest::Digest;
use slm_values::model_ref::ModelRef;
use slm_values::sampling::Parameters;

/// Opens the tiers for one request.
#[derive(Debug)]
struct Tiers {
    service: Service,
    context: RequestContext,
    account: Account,
    cascade: Arc<CachedModel>,
    model: Arc<CascadeModel>,
    remotes: TierRemotes,
}

impl OpenTier for Tiers {
    fn open(&self, nth: usize) -> Opening {
        if let Some(Some(remote)) = self.remotes.get(nth) {
            let responder = Responder::Remote(remote.clone());
            return Box::pin(async { Ok(Held { responder, hold: None }) });
        }
        let (service, context, account) = (self.service.clone(), self.context.clone(), self.account.clone());
        let (cascade, whom) = (self.cascade.name.clone(), self.model.cascade.tiers[nth].whom.clone());
        Box::pin(async move {
            let (name, digest) = match whom {
                Whom::Model { name, digest } => (name, digest),
                Whom::Words { name, digest } => return service.words(&cascade, &name, digest),
                Whom::Remote(_) => return Err("the tier has no remote".to_owned()),
            };
            let (of, said) = (name.to_string(), Parameters::default());
            let opened = service.open_for_request(&of, &said, None, (&context, &account)).await;
            let opened = opened.map_err(|problem| problem.message)?;
            if digest.is_some_and(|digest| digest != opened.digest()) {
                return Err(replaced(&cascade, &name));
            }
            Ok(Held { responder: opened.responder.clone(), hold: Some(Box::new(opened)) })
        })
    }
}

impl Service {
    /// The fit of a model as it answers from words alone: nothing is loaded and nobody waits in line.
    fn words(&self, cascade: &ModelRef, name: &ModelRef, digest: Option<Digest>) -> Result<Held, String> {
        let cached = self.models.find(&self.settings, &name.to_string()).map_err(|problem| problem.message)?;
        if digest.is_some_and(|digest| digest != cached.digest) {
            return Err(replaced(cascade, name));
        }
        let words = cached.defaults.fit.clone().and_then(|fit| WordsModel::new(fit, cached.defaults.clone()));
        let words = words.ok_or_else(|| format!("`{name}` has no fit that answers from words alone"))?;
        Ok(Held { responder: Responder::Words(Arc::new(words)), hold: None })
    }

    /// A cascade as this request asks it.
    pub(super) fn cascade(
        &self,
        cascade: &Arc<CachedModel>,
        (model, remotes): (&Arc<CascadeModel>, &TierRemotes),
        (context, account): (&RequestContext, &Account),
    ) -> Responder {
        let opener = Tiers {
            service: self.clone(),
            context: context.clone(),
            account: account.clone(),
            cascade: cascade.clone(),
            model: model.clone(),
            remotes: remotes.clone(),
        };
        let (metrics, name) = (self.metrics().clone(), cascade.name.to_string());
        let watcher = Watcher(Arc::new(move |steps: &[Step]| metrics.went_through(&name, steps)));
        let hosted = context.hosted.clone();
        Responder::Cascade(CascadeDoor {
            model: model.clone(),
            opener: Arc::new(opener),
            watcher: Some(watcher),
            hosted,
        })
    }
}
