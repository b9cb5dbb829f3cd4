/* What stands for NaN and the infinities inside a json_t, whose reals must be finite. Shared by json.c, which puts them
 * in place of Python's tokens, and json_write.c, which turns them back. */
#ifndef DG_CORE_JSON_SENTINEL_H
#define DG_CORE_JSON_SENTINEL_H

/* Digits without meaning, near the top of the range: no measurement, bound or default has these values. */
#define DG_JSON_NAN_TEXT "1.3370604914162837e+308"
#define DG_JSON_INFINITY_TEXT "1.2790164185573221e+308"
#define DG_JSON_NAN 1.3370604914162837e+308
#define DG_JSON_INFINITY 1.2790164185573221e+308

#endif
