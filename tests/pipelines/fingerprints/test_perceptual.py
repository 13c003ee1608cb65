import cv2
import numpy as np
from media_samples import noise

from pipelines.fingerprints import perceptual
from stages.storage import media


def test_the_digest_is_that_of_the_frequencies_computed_by_hand():
    image = noise(64, 64, seed=3)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    n = np.arange(32)
    waves = (
        np.cos(np.pi * (2 * n + 1) * np.arange(8)[:, None] / 64) * np.where(np.arange(8) == 0, 0.5, 2**-0.5)[:, None]
    )
    low = (waves @ grey @ waves.T).ravel()
    bits = "".join("1" if value > np.median(low[1:]) else "0" for value in low)
    assert perceptual.digest(image) == f"{int(bits, 2):016x}"


def test_compression_changes_few_bits_and_another_image_many():
    digests = [perceptual.digest(noise(256, 256, seed)) for seed in range(20)]
    again = [perceptual.digest(media.decode_image(media.encode_jpeg(noise(256, 256, n), 60))) for n in range(20)]
    assert perceptual.distances(digests, again).max() <= 4
    assert perceptual.distances(digests[1:], digests[:-1]).min() >= 16


def test_distances_count_the_bits_that_differ():
    assert perceptual.distances(
        ["ffffffffffffffff", "00000000000000f1"], ["0000000000000000", "00000000000000f0"]
    ).tolist() == [64, 1]
    assert perceptual.distances([], []).tolist() == []
