import numpy as np

from stages.evaluation import few_shot


def test_shots_of_classes_are_images_of_each_class_the_first_of_the_draw():
    y = np.eye(3)[[0, 0, 0, 1, 1, 1, 2]]
    order = np.array([6, 5, 4, 3, 2, 1, 0])
    assert few_shot.chosen(y, order, 2).tolist() == [1, 2, 4, 5, 6]  # the third class has a single image


def test_shots_of_units_are_images_that_show_each_unit_and_one_may_show_several():
    y = np.array([[1.0, 1], [0, 1], [1, -1], [0, 0]])
    assert few_shot.chosen(y, np.array([3, 0, 2, 1]), 1).tolist() == [0]
    assert few_shot.chosen(y, np.array([3, 2, 1, 0]), 1).tolist() == [1, 2]


def test_shots_of_numbers_are_images_in_all():
    assert few_shot.chosen(np.array([[0.2], [1.0], [0.0]]), np.array([2, 0, 1]), 2).tolist() == [0, 2]


def test_fewer_shots_are_among_more():
    y = np.eye(4)[np.random.default_rng(1).integers(4, size=80)]
    order = np.random.default_rng(2).permutation(80)
    few, many = (few_shot.chosen(y, order, shots) for shots in (5, 20))
    assert (len(few), set(few) <= set(many)) == (20, True)
