/* The one place with global state: a signal handler has no other way to reach the context. */
#include "cli/cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static dg_ctx *volatile stop_context;
static volatile sig_atomic_t caught;

/* SIGHUP: the terminal is gone; SIGXCPU: the soft limit on CPU time, with some seconds left. */
static const int handled[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGXCPU};

static void on_signal(int number) {
    if (caught == SIGINT && number == SIGINT) { /* the user means it */
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
        return;
    }
    caught = number;
    if (stop_context)
        dg_ctx_request_stop(stop_context);
}

static void handle(void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) {
        struct sigaction before;
        const bool ignored = sigaction(handled[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!ignored || handled[i] != SIGHUP) /* nohup */
            sigaction(handled[i], &action, NULL);
    }
}

void dg_signals_install(dg_ctx *ctx) {
    stop_context = ctx;
    caught = 0;
    handle(on_signal);
    signal(SIGPIPE, SIG_IGN);
}

void dg_signals_remove(void) {
    handle(SIG_DFL);
    signal(SIGPIPE, SIG_DFL); /* results into `head` end silently */
    stop_context = NULL;
}

const char *dg_signals_caught(void) {
    switch (caught) {
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGHUP:
        return "SIGHUP";
    case SIGXCPU:
        return "SIGXCPU";
    default:
        return NULL;
    }
}
