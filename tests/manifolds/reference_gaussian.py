"""The Fisher-Rao geometry of one normal variable in 120 digits: textbook formulas, and the disk for the rest.

A point is (mean, standard deviation). `dist` is the arcosh formula; log, exp and transport go through the Cayley map
``z -> (z - i)/(z + i)`` of the half-plane ``z = mean/sqrt(2) + i std`` onto the unit disk, whose reference has tests of
its own. Exp, log and transport do not change when a metric is scaled: the Fisher-Rao metric is twice the half-plane's.
"""

import mpmath

from tests.manifolds.reference import MP, PoincareBall, Real, Vector, vector

_DISK = PoincareBall(1.0)


def _complex(x: Vector) -> Real:
    return MP.mpc(x[0] / MP.sqrt(2), x[1])


def _pair(z: Real) -> Vector:
    return vector([MP.sqrt(2) * z.real, z.imag])


def _to_disk(x: Vector) -> Vector:
    zeta = (_complex(x) - 1j) / (_complex(x) + 1j)
    return vector([zeta.real, zeta.imag])


def _slope(x: Vector) -> Real:
    """The derivative of the Cayley map."""
    return 2j / (_complex(x) + 1j) ** 2


def _push(x: Vector, u: Vector) -> Vector:
    image = _slope(x) * _complex(u)
    return vector([image.real, image.imag])


def _pull(x: Vector, w: Vector) -> Vector:
    return _pair(MP.mpc(w[0], w[1]) / _slope(x))


def inner(x: Vector, u: Vector, v: Vector) -> Real:
    """``(u_mu v_mu + 2 u_sigma v_sigma)/sigma^2``."""
    return (u[0] * v[0] + 2 * u[1] * v[1]) / x[1] ** 2


def dist(x: Vector, y: Vector) -> Real:
    """``sqrt(2) arcosh(1 + ((mu_1 - mu_2)^2/2 + (sigma_1 - sigma_2)^2)/(2 sigma_1 sigma_2))``."""
    square = (x[0] - y[0]) ** 2 / 2 + (x[1] - y[1]) ** 2
    return MP.sqrt(2) * MP.acosh(1 + square / (2 * x[1] * y[1]))


def dist_egrad(x: Vector, y: Vector) -> Vector:
    """The Euclidean gradient of ``dist(., y)``, by numerical differentiation."""
    step = MP.mpf(10) ** -40 * x[1]
    ends = [(x + vector(e) * step, x - vector(e) * step) for e in ([1, 0], [0, 1])]
    return vector([(dist(a, y) - dist(b, y)) / (2 * step) for a, b in ends])


def logmap(x: Vector, y: Vector) -> Vector:
    """Through the disk."""
    return _pull(x, _DISK.logmap(_to_disk(x), _to_disk(y)))


def expmap(x: Vector, u: Vector) -> Vector:
    """Through the disk."""
    zeta = _DISK.expmap(_to_disk(x), _push(x, u))
    w = MP.mpc(zeta[0], zeta[1])
    return _pair(1j * (1 + w) / (1 - w))


def transp(x: Vector, y: Vector, v: Vector) -> Vector:
    """Through the disk."""
    return _pull(y, _DISK.transp(_to_disk(x), _to_disk(y), _push(x, v)))


def kl(p: Vector, q: Vector) -> Real:
    """``log(s_q/s_p) + (s_p^2 + (m_p - m_q)^2)/(2 s_q^2) - 1/2``."""
    return MP.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - MP.mpf(1) / 2


def kl_by_quadrature(p: Vector, q: Vector) -> Real:
    """``int p log(p/q)``, by numerical integration over 14 standard deviations of p."""

    def integrand(z: Real) -> Real:
        x = p[0] + p[1] * z
        log_ratio = mpmath.log(q[1] / p[1]) + ((x - q[0]) / q[1]) ** 2 / 2 - z**2 / 2
        return mpmath.npdf(z) * log_ratio

    return mpmath.quad(integrand, list(range(-14, 15, 2)))


def fisher_information(x: Vector) -> list[list[Real]]:
    """``E[d_i log p d_j log p]`` in (mean, standard deviation), by numerical integration of the definition."""
    s = x[1]

    def score(i: int, z: Real) -> Real:
        return (z / s, (z**2 - 1) / s)[i]

    grid = list(range(-14, 15, 2))
    return [
        [mpmath.quad(lambda z, i=i, j=j: mpmath.npdf(z) * score(i, z) * score(j, z), grid) for j in (0, 1)]
        for i in (0, 1)
    ]
