/**
 * The users of a cluster with `sasl`. They exist only on this machine's loopback, so their passwords are no secrets.
 * With `authorizer`, `admin` may do everything and `limited` only use topics and groups whose names begin with ALLOWED_PREFIX.
 */
export const USERS = {
  admin: { username: 'admin', password: 'admin-secret' },
  limited: { username: 'limited', password: 'limited-secret' },
};

export const ALLOWED_PREFIX = 'allowed';
