// oneDNN's exceptions end here: see dg_dnnl_guard in dnnl_compat.h. C code above cannot catch them.
#include <new>
#include <oneapi/dnnl/dnnl.h>

extern "C" dnnl_status_t dg_dnnl_guard(dnnl_status_t (*call)(void *user), void *user) {
    try {
        return call(user);
    } catch (const std::bad_alloc &) {
        return dnnl_out_of_memory;
    } catch (...) {
        return dnnl_runtime_error;
    }
}
