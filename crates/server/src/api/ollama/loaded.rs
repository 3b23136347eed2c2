//! `/api/ps`: the loaded models, and when each is unloaded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;

use super::types::models::{LoadedModel, PsResponse};
use crate::api::problem::Problem;
use crate::api::service::Service;
use crate::residents::{Resident, State as Residence, TenantState};
use slm_infer::model_info::ModelDetails;
use slm_values::manifest::ModelConfig;
use slm_values::model_ref::ModelRef;

/// When a model goes that stays forever: the last moment that Go's nanoseconds can tell, which clients can read.
const NEVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// Lists the models in memory.
#[utoipa::path(get, path = "/api/ps", tag = "ollama", responses((status = 200, body = PsResponse)))]
pub async fn ps(State(service): State<Arc<Service>>) -> Json<PsResponse> {
    let residents = service.residents().list().await;
    let names = residents.iter().flat_map(|base| &base.tenants).map(|tenant| tenant.tenant.name.clone());
    let names: Vec<ModelRef> = names.collect();
    let configs = service.in_store(move |store| {
        // One that was deleted meanwhile is still in memory.
        let config = |name: ModelRef| store.resolve(&name).ok().map(|model| (name, model.config));
        Ok::<_, Problem>(names.into_iter().filter_map(config).collect())
    });
    Json(loaded(&residents, &configs.await.unwrap_or_default(), service.settings().timestamp))
}

fn loaded(
    residents: &[Resident],
    configs: &HashMap<ModelRef, ModelConfig>,
    timestamp: fn(SystemTime) -> String,
) -> PsResponse {
    let here = residents.iter().filter(|base| !matches!(base.state, Residence::Loading { .. }));
    let model = |base: &Resident, n: usize, tenant: &TenantState| LoadedModel {
        name: tenant.tenant.name.to_string(),
        model: tenant.tenant.name.to_string(),
        size: base.share(base.size.unwrap_or(base.estimate), n),
        digest: tenant.tenant.digest.hex(),
        details: ModelDetails::of(configs.get(&tenant.tenant.name).unwrap_or(&ModelConfig::default())),
        expires_at: timestamp(tenant.expires_at.unwrap_or(UNIX_EPOCH + NEVER)),
        size_vram: base.share(base.size_vram, n),
        context_length: base.n_ctx,
        answering: tenant.n_answering,
    };
    let models = here.flat_map(|base| base.tenants.iter().enumerate().map(move |(n, tenant)| model(base, n, tenant)));
    PsResponse { models: models.collect() }
}
