/* Names and paths of files in a set of images, on disk or in an archive: '/' between folders. */
#ifndef DG_FORMATS_PATH_H
#define DG_FORMATS_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Removes "." parts and doubled slashes in place.
 * false: absolute, has a ".." part, empty: nothing a data set may refer to */
bool dg_path_normalise(char *path);
/* Begins with '.', or is the name of a folder that systems make for themselves: __MACOSX, a Synology disk's @eaDir with
 * its thumbnails, Windows' $RECYCLE.BIN.
 * in    name is not terminated */
bool dg_path_is_hidden_name(const char *name, size_t length);
/* A part with such a name. */
bool dg_path_hidden(const char *path);
/* By extension, case ignored. */
bool dg_path_is_archive(const char *path);
/* Length of an archive's name without that extension. */
size_t dg_path_archive_stem(const char *name, size_t length);
bool dg_path_is_idx_images(const char *path); /* ...images-idx3-ubyte or .idx3-ubyte, with or without .gz */
bool dg_path_ends_with(const char *path, const char *suffix);
const char *dg_path_name(const char *path); /* after the last '/' */

#endif
