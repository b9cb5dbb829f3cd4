/* What the machine and this process have: memory, for plans that are announced and kept. */
#ifndef DG_CORE_SYSTEM_H
#define DG_CORE_SYSTEM_H

#include <stdint.h>

/* Bytes that can be taken without swapping (MemAvailable, or less under a cgroup limit); -1 if unknown. */
int64_t dg_system_available_bytes(void);
/* Resident bytes of this process now, and the most there ever were; 0 if unknown. */
int64_t dg_system_resident_bytes(void);
int64_t dg_system_peak_bytes(void);

#endif
