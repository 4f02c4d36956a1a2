#include "proxy/origin/origin.h"
#include <errno.h>
int home_move(struct origin *o, struct err *e) { (void)o; return err_say(e, -ENOSYS, "not yet"); }
