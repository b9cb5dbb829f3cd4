#include "ref/act_ref.h"

#include <math.h>

static double normal_cdf(double z) {
    return 0.5 * erfc(-z / sqrt(2.0));
}

double dg_ref_act(dg_act act, double z) {
    switch (act) {
    case DG_ACT_SILU:
        return z / (1.0 + exp(-z));
    case DG_ACT_MISH:
        return z * tanh(z > 40.0 ? z : log1p(exp(z)));
    case DG_ACT_GELU:
        return z * normal_cdf(z);
    case DG_ACT_RELU:
        return z < 0.0 ? 0.0 : z;
    case DG_ACT_NONE:
        break;
    }
    return z;
}

double dg_ref_act_slope(dg_act act, double z) {
    switch (act) {
    case DG_ACT_SILU: {
        const double s = 1.0 / (1.0 + exp(-z));
        return s * (1.0 + z * (1.0 - s));
    }
    case DG_ACT_MISH: {
        const double softplus = z > 40.0 ? z : log1p(exp(z)), cosh_softplus = cosh(softplus);
        return tanh(softplus) + z / (cosh_softplus * cosh_softplus) / (1.0 + exp(-z));
    }
    case DG_ACT_GELU:
        return normal_cdf(z) + z * exp(-0.5 * z * z) / sqrt(2.0 * 3.14159265358979323846);
    case DG_ACT_RELU:
        return z > 0.0 ? 1.0 : 0.0;
    case DG_ACT_NONE:
        break;
    }
    return 1.0;
}
