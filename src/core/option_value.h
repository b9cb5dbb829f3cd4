/* One option's value: from text, to text, from and to JSON. Shared by the files of core/options only.
 * Order: any; the struct has been through dg_options_init. */
#ifndef DG_CORE_OPTION_VALUE_H
#define DG_CORE_OPTION_VALUE_H

#include "core/options.h"

/* Address of the option's field. */
void *dg_option_field(const dg_option *option, void *options);
const void *dg_option_field_const(const dg_option *option, const void *options);

/* Parses text into the field; a list gains one item.
 * where    names the source in errors; NULL = the command line
 * failure  the status a bad text gives: DG_EUSAGE or DG_ECONFIG
 * err      failure, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_option_value_set(dg_ctx *ctx, const dg_option *option, void *options, const char *text,
                                            dg_status failure, const char *where);
/* Back to the default. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_option_value_reset(dg_ctx *ctx, const dg_option *option, void *options);
/* Frees what the field owns and zeroes it. */
void dg_option_value_free(const dg_option *option, void *options);

/* NULL: no memory. */
json_t *dg_option_value_to_json(const dg_option *option, const void *options);
/* err DG_ECONFIG, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_option_value_from_json(dg_ctx *ctx, const dg_option *option, const char *where,
                                                  const json_t *value, void *options);

/* "a number from 0 to 1, or auto": what the option accepts, for messages. */
void dg_option_expects(const dg_option *option, dg_str *out);
/* true if the option takes a value (all but booleans). */
bool dg_option_takes_value(const dg_option *option);
/* The i-th of the '|'- or ','-separated parts of `list`: its start, or NULL past the end; *length its length. */
const char *dg_option_part(const char *list, char separator, int index, size_t *length);
/* The shortest decimal that reads back as the same double. */
char *dg_format_double(char buffer[32], double value);

#endif
