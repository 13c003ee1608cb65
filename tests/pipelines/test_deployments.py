from running_ui import DOCUMENTED

from pipelines import deployments


def test_the_page_of_the_ui_lists_what_can_be_started_in_the_same_order():
    assert [deployment.name for deployment in deployments.deployments()] == DOCUMENTED
