/* Guests that only start and then idle, power off or, after seconds, reboot, as THEN says. */

#include "micro.h"

#include <xen/xen.h>
#include <xen/sched.h>

#define IDLE 0
#define POWEROFF 1
#define REBOOT 2

void micro_main(void)
{
#if THEN == IDLE
    say("micro: idle\n");
    micro_idle();
#elif THEN == POWEROFF
    say("micro: poweroff\n");
    micro_shutdown(SHUTDOWN_poweroff);
#elif THEN == REBOOT
    say("micro: reboot\n");
    micro_wait(10);
    micro_shutdown(SHUTDOWN_reboot);
#endif
}
