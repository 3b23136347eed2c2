//! The callback that llama.cpp asks about every tensor of a graph while it computes, set in a context's parameters.

use std::ffi::c_void;
use std::rc::Rc;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_sys_2 as ggml;

/// What llama.cpp calls with a tensor: first to ask whether it is wanted, then, where it is, once it is computed. The last argument
/// is the address that [`with_callback`] was given.
pub type Callback = unsafe extern "C" fn(*mut ggml::ggml_tensor, bool, *mut c_void) -> bool;

/// The parameters of a context that calls back with the address of `kept`, which must live as long as the context.
pub fn with_callback<T>(params: LlamaContextParams, callback: Callback, kept: &Rc<T>) -> LlamaContextParams {
    const {
        assert!(size_of::<LlamaContextParams>() == size_of::<ggml::llama_context_params>());
        assert!(align_of::<LlamaContextParams>() == align_of::<ggml::llama_context_params>());
    }
    // SAFETY: llama_cpp_2 (pinned to one version) wraps these parameters in a struct that has no other field, as the sizes say, and
    // no function to set the callback. What is kept has its address until the last of its owners is gone.
    unsafe {
        let mut raw = std::mem::transmute::<LlamaContextParams, ggml::llama_context_params>(params);
        raw.cb_eval = Some(callback);
        raw.cb_eval_user_data = Rc::as_ptr(kept).cast_mut().cast();
        std::mem::transmute::<ggml::llama_context_params, LlamaContextParams>(raw)
    }
}
